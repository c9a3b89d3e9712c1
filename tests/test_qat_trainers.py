"""Training loops of others, with what a user of them writes: examples, and what goes on from their checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from statqat_sim import qat
from statqat_sim.testing import assert_bit_exact

INT8 = {"format": "int8", "quantizer": "minmax"}
SCHEDULED = {**INT8, "update_every": 2}
LEARNED = {**INT8, "gradient": "lsq"}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4))
    return qat.prepare(model, qat.QATConfig(weight=SCHEDULED, input=LEARNED))


def batches() -> DataLoader[tuple[Tensor, ...]]:
    x = torch.randn(24, 16, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x, x[:, :4].argmax(1)), batch_size=4)


def calibrated() -> nn.Sequential:
    model = network()
    with qat.calibrate(model), torch.no_grad():
        for x, _ in batches():
            model(x)
    return model


def plainly_trained(epochs: int) -> nn.Sequential:
    """By a loop of one's own."""
    model = calibrated()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for x, y in epochs * [*batches()]:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        qat.step(model)
    return model


def tensors(model: nn.Module) -> Mapping[str, Tensor]:
    return {**model.state_dict(), **qat.state_dict(model)}


def assert_same(one: nn.Module, other: nn.Module) -> None:
    found, wanted = tensors(one), tensors(other)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert_bit_exact(found[name], tensor)


# --- transformers ------------------------------------------------------------------------------------------------


def language_model() -> Any:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 29}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads, max_position_embeddings=16))
    rules = [{"type": "Linear", "weight": SCHEDULED, "input": LEARNED}, {"match": "lm_head", "skip": True}]
    return qat.prepare(model, qat.QATConfig(rules))


def trainer(folder: Path, model: Any, **more: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    from tests.examples.trainer_callback import QATCallback

    tokens = torch.randint(0, 29, (16, 12), generator=torch.Generator().manual_seed(1))
    options = {"max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 0.01}
    quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "logging_steps": 1}
    arguments = transformers.TrainingArguments(output_dir=str(folder), **options, **quiet, **more)
    data = [{"input_ids": row, "labels": row} for row in tokens]
    options = {"train_dataset": data, "eval_dataset": data[:2], "callbacks": [QATCallback(batches=3)]}
    return transformers.Trainer(model, arguments, **options)


def test_transformers_trainer(tmp_path: Path) -> None:
    """It calibrates, steps, and goes on from a checkpoint to the same bits."""
    model, resumed = language_model(), language_model()
    done = trainer(tmp_path, model).train()
    assert done.global_step == 4
    seen = model.model.layers[0].mlp.down_proj.input_quantizer
    assert (seen.is_ready, seen.steps, seen.statistics.elements) == (True, 4, 3 * 2 * 12 * 48)
    trainer(tmp_path, resumed).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert_same(resumed, model)


def test_the_best_checkpoint_of_a_trainer_comes_with_its_scales(tmp_path: Path) -> None:
    model = language_model()
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "greater_is_better": True}
    trained = trainer(tmp_path, model, **best, eval_strategy="steps", eval_steps=2)
    trained.train()
    assert trained.state.best_model_checkpoint == str(tmp_path / "checkpoint-2")  # the loss falls
    saved = torch.load(tmp_path / "checkpoint-2" / "qat.pt", weights_only=True)
    found = qat.state_dict(model)
    for name, tensor in saved.items():
        assert_bit_exact(found[name], tensor)


def test_the_callback_is_short() -> None:
    pytest.importorskip("transformers")
    from tests.examples.trainer_callback import QATCallback

    assert len(inspect.getsource(QATCallback).splitlines()) <= 30


# --- Lightning ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # its own
def test_lightning(tmp_path: Path) -> None:
    """It computes what a plain loop does, and goes on from a checkpoint to the same bits."""
    lightning = pytest.importorskip("lightning")
    from tests.examples.lightning_module import Classifier

    def fit(model: nn.Module, epochs: int, **options: Any) -> None:
        quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger"), False)
        trainer = lightning.Trainer(accelerator="cpu", max_epochs=epochs, default_root_dir=tmp_path, **quiet)
        trainer.fit(Classifier(model), batches(), **options)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")

    fit(calibrated(), 1)
    resumed = network()
    fit(resumed, 2, ckpt_path=str(tmp_path / "1.ckpt"))
    assert_same(resumed, plainly_trained(2))


# --- accelerate --------------------------------------------------------------------------------------------------


def test_accelerate(tmp_path: Path) -> None:
    """The same, where `Checkpointed` is registered for checkpoints."""
    accelerate = pytest.importorskip("accelerate")

    def trained(model: nn.Module, loads: bool) -> None:
        accelerator = accelerate.Accelerator(cpu=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        wrapped, optimizer, loader = accelerator.prepare(model, optimizer, batches())
        accelerator.register_for_checkpointing(qat.Checkpointed(model))
        if loads:
            accelerator.load_state(tmp_path)
            loader = accelerator.skip_first_batches(loader, 3)
        for step, (x, y) in enumerate(loader):
            if step == 3 and not loads:
                accelerator.save_state(tmp_path)
            optimizer.zero_grad()
            accelerator.backward(cross_entropy(wrapped(x), y))
            optimizer.step()
            qat.step(model)

    model, resumed = calibrated(), network()
    trained(model, loads=False)
    trained(resumed, loads=True)
    assert_same(model, plainly_trained(1))
    assert_same(resumed, model)
