"""Which axes of a tensor mean what to a format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a tensor's blocks run, and which of its slices keep a scale of their own.

    Args:
        axis: along which a matrix product adds up, so that a block's scale can leave the sum.
        channel_axis: of what the product keeps apart.
    """

    axis: int
    channel_axis: int

    def scale_shape(self, channels: int, rank: int) -> tuple[int, ...]:
        """The shape of a scale for each channel, which broadcasts against tensors of this rank.

        Of axes that count from the end it does not depend on the rank.
        """
        if self.channel_axis < 0:
            return (channels, *[1] * (-self.channel_axis - 1))
        return (*[1] * self.channel_axis, channels, *[1] * (rank - self.channel_axis - 1))
