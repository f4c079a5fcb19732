"""A search as a page for people who were not there, as pictures, and live in a browser."""
