"""The ledger of records, and whether a sample of scores beats the one that stood."""
