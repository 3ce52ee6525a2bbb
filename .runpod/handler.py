"""Not used. The Hub's indexer looks for this file; the worker is the binary that the image's CMD starts
(`dragunov worker`), which speaks the serverless protocol itself and needs no Python."""
