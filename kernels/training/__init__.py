"""Training: both passes of every op of a layer, and the layer as an op of torch."""
