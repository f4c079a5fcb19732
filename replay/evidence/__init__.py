"""A log with all that an auditor needs in one file: `eventhpo evidence`."""
