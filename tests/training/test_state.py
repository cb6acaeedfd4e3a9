"""Everything that a run resumes with comes back as it was."""

import torch
from toys.training import ToyModel, loop_config, same, toy

from cldtrans.training.checkpoint import CheckpointFolder
from cldtrans.training.state import TrainingState, on_cpu


def step(state: TrainingState) -> None:
    """One optimiser step, the same one for the same weights."""
    state.module.zero_grad()
    output, commitment = state.module(torch.ones(2, 5, 24), "eeg")
    (output.square().mean() + commitment).backward()
    state.optimiser.step(0.01)
    assert state.averaged is not None
    state.averaged.update(state.module)
    state.progress.step += 1


def state_of(model: ToyModel) -> TrainingState:
    return TrainingState(model, loop_config(ema_decay=0.9), torch.device("cpu"))


def test_a_resumed_state_goes_on_as_if_nothing_had_happened(tmp_path):
    store = CheckpointFolder(tmp_path, "a")
    going = state_of(toy())
    assert not going.resume(store) and store.steps() == [0]
    for _ in range(3):
        step(going)
    going.keep_as_best()
    going.guard.problem("eeg", 1.0, 1.0)
    going.save(store)
    resumed = state_of(toy(seed=5))
    assert resumed.resume(store) and resumed.progress.step == 3
    assert resumed.guard.losses == going.guard.losses
    assert all(torch.equal(value, resumed.best[name]) for name, value in going.best.items())
    for state in (going, resumed):
        step(state)
    assert same(going.module, resumed.module)


def test_the_final_weights_are_the_best_ones_or_the_averaged():
    state = state_of(toy())
    for _ in range(2):
        step(state)
    last = on_cpu(state.module.state_dict())
    assert state.averaged is not None
    state.apply_final()
    averaged = on_cpu(state.module.state_dict())
    assert not torch.equal(averaged["encoder.weight"], last["encoder.weight"])
    state.keep_as_best()
    step(state)
    state.apply_final()
    assert all(torch.equal(value, averaged[name]) for name, value in state.module.state_dict().items())


def test_copies_share_no_memory():
    weight = torch.ones(3, 2)
    copies = on_cpu({"a": weight, "b": weight.T})
    weight.zero_()
    assert copies["a"].all() and copies["b"].all() and copies["b"].is_contiguous()
