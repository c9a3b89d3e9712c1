"""A block format on a GPU's arrays of any shape."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum
from typing import Any, NamedTuple

from statqat_sim.arrays import dtype_name
from statqat_sim.arrays.library import ArrayLibrary
from statqat_sim.backends.cupy_gpu.block_dense import dense_kernel
from statqat_sim.backends.cupy_gpu.block_device import Device
from statqat_sim.backends.cupy_gpu.block_fusing import Fused, Job, Place, fused
from statqat_sim.backends.cupy_gpu.block_group import Elements
from statqat_sim.backends.cupy_gpu.block_places import as_one_row
from statqat_sim.backends.cupy_gpu.block_run import Located, Run
from statqat_sim.backends.cupy_gpu.launcher import Launcher
from statqat_sim.geometry import Geometry, Weighted
from statqat_sim.packing import array_shape
from statqat_sim.plan.block import CODES, ELEMENT, ELEMENTS, GIVEN, BlockPlan, Stored
from statqat_sim.plan.program import Packed, Storage

X = Elements(ELEMENTS, Storage.FLOAT32)


class Purpose(StrEnum):
    """What is done with elements."""

    ENCODE = "encode"
    FAKE_QUANTIZE = "fake_quantize"
    DECODE = "decode"


class Variant(NamedTuple):
    """What decides on a kernel, besides the plan."""

    purpose: Purpose
    along_rows: bool
    weighted: Weighted | None = None
    packed: Packed | None = None


class CudaBlockKernel:
    """See `runtime.BlockKernel`. Arrays are the library's, in C order, all on one device."""

    def __init__(self, plan: BlockPlan, launcher: Launcher, library: ArrayLibrary) -> None:
        self.plan, self.launcher, self.library = plan, launcher, library
        self._programs: dict[Variant, tuple[Job, Fused | None]] = {}

    def quantize(
        self,
        x: Any,
        geometry: Geometry,
        *,
        given: Any = None,
        weights: Any = None,
        seed: int = 0,
        offset: int = 0,
        packed: Packed | None = None,
    ) -> tuple[Any, tuple[Any, ...]]:
        """See `runtime.BlockKernel`."""
        storage = packed or self.plan.encode.shape.result
        codes = self.library.result(None, array_shape(geometry.shape, storage), storage, x)
        stored = {one.result: self._stored(one, geometry, x) for one in self.plan.stored}
        known, numbers = self._known(x, geometry, given), {"seed": seed, "offset": offset, "weights": weights}
        rows = as_one_row(geometry, self.plan, packed, weighted=weights is not None)
        weighted = None if weights is None else geometry.weighted
        variant = Variant(Purpose.ENCODE, rows.along_rows, weighted, packed)
        job, kernel = self._program(variant)
        if kernel is not None:
            _run(Run(Device(self.launcher, x), rows, job, known, numbers, stored), kernel, codes)
            return codes, tuple(stored.values())
        job, kernel = self._whole_program(variant._replace(packed=None))
        run = Run(Device(self.launcher, x), rows, job, known, numbers, stored)
        assert packed is not None
        _pack(run, self._filled(run, kernel), codes, packed)
        return codes, tuple(stored.values())

    def fake_quantize(
        self,
        x: Any,
        geometry: Geometry,
        *,
        out: Any = None,
        given: Any = None,
        weights: Any = None,
        seed: int = 0,
        offset: int = 0,
    ) -> Any:
        """See `runtime.BlockKernel`."""
        values = self.library.result(None, geometry.shape, Storage.FLOAT32, x) if out is None else out
        known, numbers = self._known(x, geometry, given), {"seed": seed, "offset": offset, "weights": weights}
        rows = as_one_row(geometry, self.plan, None, weighted=weights is not None)
        weighted = None if weights is None else geometry.weighted
        variant = Variant(Purpose.FAKE_QUANTIZE, rows.along_rows, weighted)
        job, kernel = self._whole_program(variant)
        _run(Run(Device(self.launcher, x), rows, job, known, numbers, {}), kernel, values)
        return values

    def dequantize(self, codes: Any, stored: tuple[Any, ...], geometry: Geometry, *, out: Any = None) -> Any:
        """See `runtime.BlockKernel`."""
        values = self.library.result(None, geometry.shape, Storage.FLOAT32, codes) if out is None else out
        rows = as_one_row(geometry, self.plan, None)
        job, kernel = self._whole_program(Variant(Purpose.DECODE, rows.along_rows))
        known = {CODES: Located(codes, Place(job.elements.storage, ELEMENT))}
        for one, array in zip(self.plan.stored, stored, strict=True):
            known[one.result] = Located(array, Place(one.storage, one.block))
        _run(Run(Device(self.launcher, codes), rows, job, known, {}, {}), kernel, values)
        return values

    def _stored(self, one: Stored, geometry: Geometry, like: Any) -> Any:
        """A new array, of the dtype that callers see."""
        array = self.library.result(None, geometry.scale_shape(one.block), one.storage, like)
        return array if dtype_name(array) == one.storage.value else array.view(one.storage.value)

    def _filled(self, run: Run, kernel: Fused) -> Any:
        """Codes that are not dense."""
        storage = self.plan.encode.shape.result
        shape = (run.geometry.batch * run.geometry.rows, run.geometry.columns)
        codes = self.library.result(None, shape, storage, run.device.like)
        _run(run, kernel, codes)
        return codes

    def _known(self, x: Any, geometry: Geometry, given: Any) -> dict[str, Located]:
        """The caller's arrays by stream name."""
        known = {ELEMENTS: Located(x, Place(Storage.FLOAT32, ELEMENT))}
        stage = self.plan.given_stage
        if stage is not None:
            shape = geometry.scale_shape(stage.block)
            if given is None or math.prod(given.shape) != math.prod(shape):
                raise ValueError(f"this format's scale comes from the caller: {shape}")
            known[GIVEN] = Located(given, Place(Storage.FLOAT32, stage.block))
        return known

    def _program(self, variant: Variant) -> tuple[Job, Fused | None]:
        if variant not in self._programs:
            job = self._decoding(variant) if variant.purpose is Purpose.DECODE else self._quantizing(variant)
            self._programs[variant] = job, fused(job)
        return self._programs[variant]

    def _whole_program(self, variant: Variant) -> tuple[Job, Fused]:
        """That of a result that is not dense: a lane of one element always fits."""
        job, kernel = self._program(variant)
        assert kernel is not None, variant
        return job, kernel

    def _quantizing(self, variant: Variant) -> Job:
        codes, stages = variant.purpose is Purpose.ENCODE, self.plan.stages
        plan = self.plan.encode if codes else self.plan.fake_quantize
        if variant.packed is not None:
            plan = replace(plan, shape=replace(plan.shape, result=variant.packed))
        stage, searched = self.plan.given_stage, bool(stages) and len(stages[-1].plans) > 1
        return Job(
            elements=X,
            stages=stages,
            outside=() if stage is None else ((GIVEN, Place(Storage.FLOAT32, stage.block)),),
            plan=plan,
            stored=self.plan.stored if codes else (),
            trial=self.plan.fake_quantize if searched else None,
            weighted=variant.weighted if searched else None,
            along_rows=variant.along_rows,
        )

    def _decoding(self, variant: Variant) -> Job:
        plan = self.plan
        storage = next(stream.storage for stream in plan.decode.shape.streams if stream.name == CODES)
        assert isinstance(storage, Storage)
        outside = tuple((one.result, Place(one.storage, one.block)) for one in plan.stored)
        return Job(Elements(CODES, storage), (plan.decoding,), outside, plan.decode, along_rows=variant.along_rows)


def _run(run: Run, kernel: Fused, out: Any) -> None:
    """Run all kernels of a job."""
    run.stages(kernel.first)
    run.finish(kernel, out)
    kept = {one.result for one in kernel.shape.kept}
    for one in run.job.stored:
        if one.result not in kept:
            run.keep(one)


def _pack(run: Run, codes: Any, out: Any, packed: Packed) -> None:
    """Codes as bytes, row by row."""
    rows, length = run.geometry.batch * run.geometry.rows, run.geometry.columns
    storage = run.job.plan.shape.result
    assert isinstance(storage, Storage)
    threads = rows * packed.row_bytes(length)
    values = {"threads": threads, "length": length, "codes": codes, "out": out}
    run.device.launch(dense_kernel(storage, packed), threads, values)
