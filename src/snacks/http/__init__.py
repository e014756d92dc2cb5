"""HTTP: thin Litestar handlers; each module stands alone."""
