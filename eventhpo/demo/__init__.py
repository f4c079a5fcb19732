"""A search that anybody can run and copy: scikit-learn's digits."""
