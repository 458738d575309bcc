"""The glance: on frames that no estimator looks at, the joints are followed in the picture, from luma alone."""
