"""Live: how true and how smooth the pose shown now is, beside simple methods and MediaPipe as fast as it goes."""
