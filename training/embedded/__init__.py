"""What the embedded model is worth: figures on generated archives that it was never trained on, and its errors."""
