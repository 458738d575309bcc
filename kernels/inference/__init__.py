"""Inference: the backend `triton`, an encoder with its weights on a card, called from the host."""
