//! Layers shared by the three models. Each picks its kernel by device in one place.
