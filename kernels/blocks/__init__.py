"""Blocks: the forward pass in windows that one program cannot hold."""
