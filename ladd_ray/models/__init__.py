"""Adapters to diffusers and transformers, the only folder that knows their names."""

import logging

import diffusers
import transformers


class _Harmless(logging.Filter):
    """Drops remarks of the libraries that are true and tell our users nothing."""

    REMARKS = (
        "requires torchvision (not installed)",  # of image processors that no pipeline here has
        "that should be kept in float32: []",
        "input was truncated because `max_sequence_length`",  # of a silent T5, on purpose
        "sequence length is longer than the specified maximum",
    )

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(remark in message for remark in self.REMARKS)


for _library in (diffusers, transformers):
    for _handler in logging.getLogger(_library.__name__).handlers:
        _handler.addFilter(_Harmless())
transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()
