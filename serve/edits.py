"""The body of an edit: a form with files, or JSON with data URLs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from .errors import ApiError, Refusal, bad_request, from_validation
from .orders import Given
from .schemas import EditOptions, EditRequest
from .uploads import from_data_url, read_given

_IMAGE_FIELDS: Final = ("image", "image[]")
_MAX_FILES: Final = 17
"""16 pictures, which the official client may send, and a mask."""
_MAX_FIELDS: Final = 64


class EditBody(BaseModel):
    """A parsed body, with its files as they came."""

    options: EditOptions
    images: list[bytes]
    mask: bytes | None

    def given(self, *, max_pixels: int) -> Given:
        """The pictures; takes a while.

        Raises:
            ApiError: they are not what they should be.
        """
        if self.mask is None and "mask_polarity" in self.options.model_fields_set:
            raise bad_request("mask_polarity has no effect without a mask: leave it out", param="mask_polarity")
        return read_given(self.images, self.mask, polarity=self.options.mask_polarity, max_pixels=max_pixels)


async def read_edit(http: Request) -> EditBody:
    """The body of either kind.

    Raises:
        ApiError: it is not as the schema says.
    """
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            return await _from_form(http)
        if kind == "application/json":
            return _from_json(await http.body())
    except ValidationError as error:
        raise from_validation(error) from error
    except UnicodeError as error:
        raise bad_request("the form is not in the charset that its content type names: use UTF-8") from error
    message = f"content type {kind or 'missing'}: send multipart/form-data or application/json"
    raise ApiError(Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, code="unsupported_media_type"))


def _from_json(body: bytes) -> EditBody:
    request = EditRequest.model_validate_json(body)
    options = EditOptions.model_validate(request.model_dump(exclude={"images", "mask"}, exclude_unset=True))
    images = [from_data_url(image.image_url, param="images") for image in request.images]
    mask = None if request.mask is None else from_data_url(request.mask.image_url, param="mask")
    return EditBody(options=options, images=images, mask=mask)


async def _from_form(http: Request) -> EditBody:
    async with http.form(max_files=_MAX_FILES, max_fields=_MAX_FIELDS) as form:
        files: dict[str, list[bytes]] = {}
        fields: dict[str, str] = {}
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files.setdefault("image" if name in _IMAGE_FIELDS else name, []).append(await value.read())
            elif name in fields:
                raise bad_request(f"{name} was given twice", param=name)
            else:
                fields[name] = value
    return EditBody(options=_options(fields), images=files.pop("image", []), mask=_mask(files))


def _options(fields: dict[str, str]) -> EditOptions:
    for name in (*_IMAGE_FIELDS, "mask"):
        if name in fields:
            raise bad_request(f"{name} must be a file of the form, with a file name", param=name)
    return EditOptions.model_validate_strings(fields, strict=False)


def _mask(files: dict[str, list[bytes]]) -> bytes | None:
    masks = files.pop("mask", [])
    if files:
        name = next(iter(files))
        raise bad_request(f"Unknown parameter: {name!r}", param=name, code="unknown_parameter")
    if len(masks) > 1:
        raise bad_request("more than one mask was given", param="mask")
    return masks[0] if masks else None
