"""One file a data set: `OPTIONS` and `load(root, **options)`; being here registers it."""
