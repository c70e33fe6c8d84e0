"""Pure functions of tensors: nothing here has parameters or remembers anything."""
