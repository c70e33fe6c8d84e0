"""A drawn world of talking heads whose landmarks are known exactly, for trying and testing without photographs."""
