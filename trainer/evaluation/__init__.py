"""The score of a trained model."""
