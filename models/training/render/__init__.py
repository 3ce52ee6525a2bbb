"""A renderer of tabletop meals for training: height-field solids, marched rays, exact ids, depth and volumes."""
