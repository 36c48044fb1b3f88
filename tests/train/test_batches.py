"""Batches in a Lightning fit: the right splits on the right ranks, and a fit that goes on in the middle of an epoch."""

import threading

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.trainer.states import RunningStage
from torch import nn

from mmgraph.data import Collection, CollectionWriter, Loader, ModalityDropout
from mmgraph.data.order import Order
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.testing import fake_graph
from mmgraph.train.batches import Batches

EPOCHS = 3
pytestmark = [pytest.mark.filterwarnings(f"ignore::{one}") for one in ("UserWarning", "FutureWarning")]  # Lightning's


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    path = tmp_path_factory.mktemp("collection") / "samples"
    with CollectionWriter(path, fake_graph(4)[1]) as writer:
        for number in range(21):
            split = {0: "val", 1: "test"}.get(number % 7, "train")  # 15 for training: 4 batches of at most 4
            writer.add(fake_graph(3 + number % 4, seed=number)[0], split=split)
    return Collection(path)


class Scorer(pl.LightningModule):
    """A linear model of each modality's mean, trained with Adam: what it becomes depends on every batch in turn."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.heads = nn.ModuleDict({"scan": nn.Linear(3, 2), "text": nn.Linear(5, 2)})
        self.seen = {"train": [], "val": [], "test": []}

    def score(self, batch):
        total = 0.0
        for name, head in self.heads.items():
            row, owner = batch[name, "of", "subject"].edge_index
            parts = torch.zeros(batch["subject"].num_nodes, 2).index_add(0, owner, head(batch[name].x)[row])
            total = total + nn.functional.cross_entropy(parts, batch["subject"].y.clamp_min(0))
        return total

    def training_step(self, batch, _):
        self.seen["train"].append((self.current_epoch, batch["subject"].y.tolist(), batch["scan"].x.sum().item()))
        return self.score(batch)

    def validation_step(self, batch, _):
        self.seen["val"].append(batch.num_graphs)
        self.log("val_loss", self.score(batch), batch_size=batch.num_graphs)

    def test_step(self, batch, batch_idx):
        self.seen["test"].append(batch.num_graphs)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)


class Keep(Callback):
    """Writes a checkpoint at the end of every batch and, with other names, at other moments."""

    def __init__(self, folder):
        self.folder = folder

    def save(self, trainer, name):
        trainer.save_checkpoint(self.folder / f"{name}-{trainer.current_epoch}-{trainer.global_step}.ckpt")

    def on_train_batch_end(self, trainer, *_):
        self.save(trainer, "batch")

    def on_validation_end(self, trainer, *_):
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer, *_):
        self.save(trainer, "epoch")


class Stop(Callback):
    """Breaks the fit off after some steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.steps:
            raise RuntimeError("the power went out")


def make_trainer(*callbacks, **options):
    return pl.Trainer(
        **{
            "max_epochs": EPOCHS,
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": any(isinstance(one, ModelCheckpoint) for one in callbacks),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 2,
            "callbacks": list(callbacks),
            **options,
        }
    )


def make_batches(collection, **options):
    dropout = ModalityDropout(collection.schema, rate=0.3)
    return Batches(collection, **{"batch_size": 4, "seed": 3, "bucket": 2, "transform": dropout, **options})


def weights(module):
    return torch.cat([value.flatten() for value in module.parameters()]).detach()


@pytest.fixture(scope="module")
def whole(collection, tmp_path_factory):
    """A fit from beginning to end, what it saw, and its checkpoints of all moments."""
    folder = tmp_path_factory.mktemp("checkpoints")
    module = Scorer()
    make_trainer(Keep(folder)).fit(module, datamodule=make_batches(collection))
    return module, folder


def test_a_fit_reads_each_split_as_it_should(whole, collection):
    module, _ = whole
    loader = make_batches(collection).train_dataloader()
    labels = []
    for epoch in range(EPOCHS):
        labels += [(epoch, batch["subject"].y.tolist(), batch["scan"].x.sum().item()) for batch in loader]
    assert module.seen["train"] == labels
    assert module.seen["val"] == [3] * (1 + EPOCHS)  # once before, for sanity
    tester = Scorer()
    make_trainer().test(tester, datamodule=make_batches(collection), verbose=False)
    assert tester.seen["test"] == [3]


def test_options_reach_the_loaders(collection):
    def transform(batch, generator):
        return batch

    batches = Batches(
        collection, batch_size=3, seed=5, bucket=2, most=900, drop_last=True, prefetch=1, transform=transform
    )
    train, val, test = batches.train_dataloader(), batches.val_dataloader(), batches.test_dataloader()
    assert train.order == Order(batch_size=3, seed=5, bucket=2, most=900, drop_last=True, shuffle=True)
    assert val.order == test.order == Order(batch_size=3, seed=5, most=900)
    assert [loader.transform for loader in (train, val, test)] == [transform, None, None]
    assert [loader.prefetch for loader in (train, val, test)] == [1, 1, 1]
    for name, loader in (("train", train), ("val", val), ("test", test)):
        assert loader.indices.tolist() == collection.splits[name].tolist()


MOMENTS = [
    *(f"batch-{step // 4}-{step + 1}" for step in range(12)),
    *(f"validation-{epoch}-{4 * epoch + 4}" for epoch in range(EPOCHS)),
    *(f"epoch-{epoch}-{4 * epoch + 4}" for epoch in range(EPOCHS)),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_fit_goes_on_from_any_moment_to_the_same_weights(whole, collection, moment):
    expected, folder = whole
    module = Scorer()
    make_trainer().fit(
        module, datamodule=make_batches(collection), ckpt_path=folder / f"{moment}.ckpt", weights_only=True
    )
    step = int(moment.split("-")[-1])
    assert module.seen["train"] == expected.seen["train"][step:]
    assert torch.equal(weights(module), weights(expected))


def test_a_fit_that_broke_off_ends_the_same(whole, collection, tmp_path):
    expected, _ = whole
    saved = ModelCheckpoint(tmp_path, every_n_train_steps=1, filename="last", enable_version_counter=False)
    broken = Scorer()
    with pytest.raises(RuntimeError, match="the power went out"):
        make_trainer(saved, Stop(6)).fit(broken, datamodule=make_batches(collection))
    assert [thread for thread in threading.enumerate() if thread.name == "mmgraph-prefetch"] == []
    again = Scorer()
    make_trainer().fit(again, datamodule=make_batches(collection), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert broken.seen["train"] + again.seen["train"] == expected.seen["train"]
    assert torch.equal(weights(again), weights(expected))


def test_batches_of_bounded_size_go_on_too(collection, tmp_path):
    sizes = collection.sizes[collection.splits["train"]]
    options = {"most": int(sizes.max() * 1.5), "batch_size": 6}
    whole = Scorer()
    make_trainer(Keep(tmp_path)).fit(whole, datamodule=make_batches(collection, **options))
    length = len(make_batches(collection, **options).train_dataloader())
    assert len(whole.seen["train"]) == EPOCHS * length
    assert len(whole.seen["val"]) == len(make_batches(collection, **options).val_dataloader()) * (EPOCHS + 1)
    for moment, step in [("batch-1", length + 2), ("batch-0", length), ("epoch-1", 2 * length)]:
        module = Scorer()
        path = tmp_path / f"{moment}-{step}.ckpt"
        make_trainer().fit(module, datamodule=make_batches(collection, **options), ckpt_path=path, weights_only=True)
        assert module.seen["train"] == whole.seen["train"][step:]
        assert torch.equal(weights(module), weights(whole))


def test_epochs_cut_short_by_the_trainer_begin_anew(collection):
    module = Scorer()
    make_trainer(limit_train_batches=2).fit(module, datamodule=make_batches(collection))
    loader = make_batches(collection).train_dataloader()
    expected = []
    for epoch in range(EPOCHS):
        loader.set_epoch(epoch)
        iterator = iter(loader)
        expected += [next(iterator)["subject"].y.tolist() for _ in range(2)]
        iterator.close()
    assert [one[1] for one in module.seen["train"]] == expected


def test_a_checkpoint_of_other_batches_is_refused(whole, collection):
    _, folder = whole
    with pytest.raises(ArtifactError, match="batch_size=4, this one has 5"):
        make_trainer().fit(
            Scorer(),
            datamodule=make_batches(collection, batch_size=5),
            ckpt_path=folder / "batch-1-6.ckpt",
            weights_only=True,
        )


@pytest.mark.parametrize("sampler", [True, False])
def test_ranks_are_the_trainers_and_no_sampler_comes_in_between(collection, sampler):
    trainer = make_trainer(strategy="ddp", devices=2, use_distributed_sampler=sampler)
    batches = make_batches(collection)
    batches.trainer = trainer
    for loader, split in [(batches.train_dataloader(), "train"), (batches.val_dataloader(), "val")]:
        assert (loader.rank, loader.order.world) == (0, 2)
        stage = RunningStage.TRAINING if split == "train" else RunningStage.VALIDATING
        assert trainer._data_connector._prepare_dataloader(loader, shuffle=True, mode=stage) is loader
        other = Loader(
            collection, collection.splits[split], batch_size=4, rank=1, world=2,
            shuffle=loader.order.shuffle, seed=3, bucket=loader.order.bucket,
        )  # fmt: skip
        read = np.concatenate([*loader.plan(0), *other.plan(0)])
        assert sorted(read) == collection.splits[split].tolist()


def test_to_overfit_the_same_batches_come_every_epoch(collection):
    module = Scorer()
    make_trainer(overfit_batches=2, num_sanity_val_steps=0).fit(module, datamodule=make_batches(collection))
    epochs = [[one[1:] for one in module.seen["train"] if one[0] == epoch] for epoch in range(EPOCHS)]
    assert epochs[0] == epochs[1] == epochs[2]
    assert len(epochs[0]) == 2


def test_what_a_collection_lacks_is_said_by_value(tmp_path):
    graph, schema = fake_graph(4)
    with CollectionWriter(tmp_path / "c", schema) as writer:
        writer.extend([graph] * 3, split="train")
    batches = Batches(Collection(tmp_path / "c"), batch_size=2)
    assert batches.val_dataloader() == []
    with pytest.raises(DataError, match=r"split 'test', got \['train'\]"):
        batches.test_dataloader()
    module = Scorer()
    make_trainer(max_epochs=1).fit(module, datamodule=batches)
    assert len(module.seen["train"]) == 2
    assert module.seen["val"] == []
    with pytest.raises(ConfigError, match="batch_size .*got 0"):
        Batches(Collection(tmp_path / "c"), batch_size=0)
