"""Kernels: the network in Triton. The forward pass, sizes, launches and references."""
