"""Run identity, the ledger of runs, the runner of notebooks, tables from the ledger and the report."""
