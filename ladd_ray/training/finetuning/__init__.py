"""Continues the training of any Stable Diffusion 3 folder by flow matching, on the engines of the distillation."""
