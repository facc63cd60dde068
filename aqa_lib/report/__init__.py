"""The report page of a study, and the results that stand in the README."""
