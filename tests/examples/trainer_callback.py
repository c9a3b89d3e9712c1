"""Hugging Face's Trainer with a prepared model: copy `QATCallback`, and give it as one of `callbacks`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from statqat_sim import qat


class QATCallback(TrainerCallback):
    """Calibrates before the first step, and keeps scales beside each checkpoint, the best one's too."""

    def __init__(self, batches: int = 8) -> None:
        self.batches = batches

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, train_dataloader: Any, **_: Any) -> None:
        if state.global_step:
            qat.load_state_dict(model, torch.load(self.file(args, state), map_location="cpu"))
            return
        with qat.calibrate(model), torch.no_grad():
            for batch in islice(train_dataloader, self.batches):
                model(**batch)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        if args.load_best_model_at_end and state.best_model_checkpoint:
            best = Path(state.best_model_checkpoint) / "qat.pt"
            qat.load_state_dict(model, torch.load(best, map_location="cpu"))

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        qat.step(model)

    def on_save(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        scales = qat.state_dict(model)  # by all processes
        if state.is_world_process_zero:
            torch.save(scales, self.file(args, state))

    def file(self, args: Any, state: Any) -> Path:
        return Path(args.output_dir) / f"checkpoint-{state.global_step}" / "qat.pt"
