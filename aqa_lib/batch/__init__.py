"""What runs a study: plans from YAML, notebooks in processes of their own."""
