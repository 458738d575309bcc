"""Data: motion capture. Readers, simulated cameras and estimators, windows to train on."""
