"""Data: the embedded world "stickers", latents and the batches made of them."""
