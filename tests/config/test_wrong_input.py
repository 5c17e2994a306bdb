"""Wrong inputs: each is refused with code 2 (4 for the machine) in a line or two that say what, why and what to do."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from ch12cli.cli.main import main
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.run_settings import RunSettings
from ch12cli.errors import InputError
from ch12cli.run.start import checked
from ch12cli.run.torch_settings import torch_settings
from ch12cli.run.train import prepare_job

LONGEST = 300  # characters of a message, which is four lines of a terminal; lists of names take most of it


class Wrong(NamedTuple):
    """words: as typed after `ch12 train`; says: what the message must hold; lines: how many mistakes are reported."""

    words: str
    says: Sequence[str]
    lines: int = 1
    code: int = 2


VALUES = [
    Wrong("optimizer.lr=-1", ["optimizer.lr=-1", "greater than 0", "conf/optimizer/adam.yaml"]),
    Wrong("optimizer.lr=0", ["optimizer.lr=0", "greater than 0"]),
    Wrong("optimizer.lr=nan", ["optimizer.lr=nan", "number", "finite"]),
    Wrong("optimizer.lr=inf", ["optimizer.lr=inf", "finite"]),
    Wrong("optimizer.lr=-inf", ["optimizer.lr=-inf", "finite"]),
    Wrong("optimizer.lr=1e400", ["optimizer.lr=inf", "finite"]),
    Wrong("optimizer.lr=1e-400", ["optimizer.lr=0.0", "greater than 0"]),
    Wrong("optimizer.lr=1e39", ["optimizer.lr=1e+39", "less than"]),
    Wrong("optimizer.lr=fast", ["optimizer.lr=fast", "must be a number"]),
    Wrong("optimizer.lr='0.1'", ["optimizer.lr='0.1'", "must be a number", "write 0.1, without quotes"]),
    Wrong("optimizer.lr=", ["optimizer.lr=", "must be a number"]),
    Wrong("optimizer.lr=null", ["optimizer.lr=null", "must be a number"]),
    Wrong("optimizer.lr=true", ["optimizer.lr=true", "must be a number"]),
    Wrong("optimizer.lr=[0.1,0.2]", ["optimizer.lr=[0.1,0.2]", "must be a number"]),
    Wrong("optimizer.lr={a:1}", ["optimizer.lr={a:1}", "must be a number"]),
    Wrong("optimizer.lr=0.1,0.2", ["optimizer.lr=0.1,0.2", "add -m"]),
    Wrong("seed=range(3)", ["seed=range(3)", "add -m"]),
    Wrong("epochs=0", ["epochs=0", "whole number from 1", "conf/config.yaml"]),
    Wrong("epochs=-3", ["epochs=-3", "whole number from 1"]),
    Wrong("epochs=1.5", ["epochs=1.5", "whole number"]),
    Wrong("epochs=1e2", ["epochs=100.0", "write 100"]),
    Wrong("epochs=many", ["epochs=many", "whole number"]),
    Wrong("epochs=[1]", ["epochs=[1]", "whole number"]),
    Wrong("epochs={a:1}", ["epochs={a:1}", "whole number"]),
    Wrong("epochs=null", ["epochs=null", "whole number"]),
    Wrong("epochs=99999999999999999999999", ["epochs=99999999999999999999999", "at most 1000000000"]),
    Wrong("epochs=???", ["epochs: must be given", "a whole number from 1"]),
    Wrong("epochs=${nope}", ["epochs=${nope}", "'nope' not found"]),
    Wrong("epochs=${epochs}", ["epochs=${epochs}", "ecursive"]),
    Wrong("epochs=${oc.env:CH12_NOPE}", ["epochs=${oc.env:CH12_NOPE}", "CH12_NOPE"]),
    Wrong("+own.a=${oc$nv:HOME}", ["+own.a=${oc$nv:HOME}: ", "$"]),
    Wrong("++logger=${a?b:c}", ["++logger=${a?b:c}: "]),
    Wrong("epochs=${nope:1}", ["epochs=${nope:1}", "nope"]),
    Wrong("epochs=010", ["epochs='010'", "write 10"]),
    Wrong("epochs=007", ["epochs='007'", "write 7"]),
    Wrong("batch_size=0", ["batch_size=0", "whole number from 1"]),
    Wrong("batch_size=-2", ["batch_size=-2", "whole number from 1"]),
    Wrong("batch_size=2.0", ["batch_size=2.0", "write 2"]),
    Wrong("batch_size=10000000000000000000000", ["batch_size=1000", "at most 1000000000"]),
    Wrong("workers=-1", ["workers=-1", "whole number from 0 to 256"]),
    Wrong("workers=257", ["workers=257", "whole number from 0 to 256"]),
    Wrong("workers=two", ["workers=two", "whole number"]),
    Wrong("seed=-1", ["seed=-1", "whole number from 0 to 4294967295"]),
    Wrong("seed=4294967296", ["seed=4294967296", "to 4294967295"]),
    Wrong("seed=null", ["seed=null", "whole number"]),
    Wrong("device=gpu", ["device=gpu", "auto, cpu, mps, cuda or cuda:N", "did you mean `cuda`?"]),
    Wrong("device=GPU:0", ["device=GPU:0", "did you mean `cuda`?"]),
    Wrong("device=cuda:x", ["device=cuda:x", "cuda:N"]),
    Wrong("device=0", ["device=0", "cuda:N"]),
    Wrong("model.width=0", ["model.width=0", "whole number from 1", "conf/model/mlp.yaml"]),
    Wrong("model.width=4.5", ["model.width=4.5", "whole number"]),
    Wrong("model.depth=-1", ["model.depth=-1", "whole number from 0"]),
    Wrong("model.dropout=1.5", ["model.dropout=1.5", "less than 1"]),
    Wrong("model.dropout=1", ["model.dropout=1", "less than 1"]),
    Wrong("model.dropout=-0.1", ["model.dropout=-0.1", "at least 0"]),
    Wrong("model.output=relu", ["model.output=relu", "one of auto, none, sigmoid"]),
    Wrong("model.output=softmx", ["model.output=softmx", "did you mean `softmax`"]),
    Wrong("model.init=glorot", ["model.init=glorot", "one of torch, xavier", "did you mean `xavier`?"]),
    Wrong("dataset=table dataset.file=x.csv dataset.memory=0MB", ["dataset.memory=0MB", "a size greater than 0"]),
    Wrong("dataset.test_size=1.0", ["dataset.test_size=1.0", "fraction"]),
    Wrong("dataset.test_size=-1", ["dataset.test_size=-1", "fraction"]),
    Wrong("dataset.valid_size=1.5", ["dataset.valid_size=1.5", "fraction"]),
    Wrong("dataset.split=randm", ["dataset.split=randm", "did you mean `random`"]),
    Wrong("dataset.split_seed=-1", ["dataset.split_seed=-1", "whole number"]),
    Wrong("dataset.scaling=minmax", ["dataset.scaling=minmax", "one of standard, global, none"]),
    Wrong("dataset=two_class dataset.size=1", ["dataset.size=1", "from 2", "conf/dataset/two_class.yaml"]),
    Wrong("dataset=two_class dataset.noise=-1", ["dataset.noise=-1", "at least 0"]),
    Wrong("dataset=two_class dataset.shape=moon", ["dataset.shape=moon", "did you mean `moons`"]),
    Wrong("dataset=toy_regression dataset.kind=lines", ["dataset.kind=lines", "did you mean `line`"]),
    Wrong("optimizer.betas=[0.9]", ["optimizer.betas=[0.9]", "a list of two"]),
    Wrong("optimizer.betas=[0.9,1]", ["optimizer.betas=[0.9,1]", "less than 1"]),
    Wrong("optimizer.betas=[a,b]", ["optimizer.betas=[a,b]", "a list of two"]),
    Wrong("optimizer.betas=0.9", ["optimizer.betas=0.9", "a list of two"]),
    Wrong("optimizer.amsgrad=yes", ["optimizer.amsgrad=yes", "true or false", "write true"]),
    Wrong("optimizer.eps=-1e-8", ["optimizer.eps=-1e-08", "at least 0"]),
    Wrong("optimizer=sgd optimizer.momentum=-0.5", ["optimizer.momentum=-0.5", "conf/optimizer/sgd.yaml"]),
    Wrong("scheduler=step scheduler.step_size=0", ["scheduler.step_size=0", "whole number from 1"]),
    Wrong("scheduler=step scheduler.gamma=0", ["scheduler.gamma=0", "greater than 0"]),
    Wrong("scheduler=one_cycle scheduler.pct_start=1", ["scheduler.pct_start=1", "less than 1"]),
    Wrong("scheduler=one_cycle scheduler.anneal_strategy=cosine", ["anneal_strategy=cosine", "one of cos, linear"]),
    Wrong("scheduler=reduce_on_plateau scheduler.factor=2", ["scheduler.factor=2", "less than 1"]),
    Wrong("scheduler.warmup=inf", ["scheduler.warmup=inf", "finite"]),
    Wrong("optimizer.weight_decay=nan", ["optimizer.weight_decay=nan", "finite"]),
    Wrong("optimizer=sgd optimizer.dampening=nan", ["optimizer.dampening=nan", "finite"]),
    Wrong("early_stopping.min_delta=inf", ["early_stopping.min_delta=inf", "finite"]),
    Wrong("scheduler.warmup=-1", ["scheduler.warmup=-1", "at least 0"]),
    Wrong("loss=huber dataset=toy_regression loss.delta=0", ["loss.delta=0", "greater than 0"]),
    Wrong("loss=cross_entropy loss.label_smoothing=2", ["loss.label_smoothing=2", "at most 1"]),
    Wrong("activation=elu activation.alpha=0", ["activation.alpha=0", "greater than 0"]),
    Wrong("monitor=valid_los", ["monitor=valid_los", "did you mean `valid_loss`"]),
    Wrong("early_stopping.patience=0", ["early_stopping.patience=0", "null, or a whole number from 1"]),
    Wrong("early_stopping.patience=never", ["early_stopping.patience=never", "null, or"]),
    Wrong("early_stopping.min_delta=-1", ["early_stopping.min_delta=-1", "at least 0"]),
    Wrong("early_stopping=3", ["early_stopping=3", "set early_stopping.metric"]),
    Wrong("early_stopping=null", ["early_stopping=null", "early_stopping.patience"]),
    Wrong("clip_grad_norm=0", ["clip_grad_norm=0", "null, or a number greater than 0"]),
    Wrong("clip_grad_value=-1", ["clip_grad_value=-1", "greater than 0"]),
    Wrong("precision=float16", ["precision=float16", "float32, float64, bfloat16"]),
    Wrong("precision=32", ["precision=32", "float32"]),
    Wrong("compile=on", ["compile=on", "write true"]),
    Wrong("deterministic=1", ["deterministic=1", "true or false"]),
    Wrong("pin_memory=maybe", ["pin_memory=maybe", "true or false"]),
    Wrong("threads=0", ["threads=0", "whole number from 1"]),
    Wrong("stream_offset=-1", ["stream_offset=-1", "whole number from 0"]),
    Wrong("checkpoint.every=0", ["checkpoint.every=0", "auto, or a whole number from 1"]),
    Wrong("checkpoint=5", ["checkpoint=5", "set checkpoint.every"]),
    Wrong("model._target_=null", ["model._target_=null", "must be text"]),
]

KEYS = [
    Wrong("lr=0.1", ["lr=0.1", "no such key", "`optimizer.lr`"]),
    Wrong("optimizer.lrr=0.1", ["optimizer.lrr=0.1", "`optimizer.lr`"]),
    Wrong("optimizer.learning_rate=0.1", ["optimizer.learning_rate", "`optimizer.lr`"]),
    Wrong("optimizer.momentum=0.9", ["optimizer=adam has no momentum", "optimizer=sgd"]),
    Wrong("+optimizer.momentum=0.9", ["optimizer=adam has no momentum", "optimizer=sgd"]),
    Wrong("optimizer.momentm=0.9", ["optimizer.momentm", "`optimizer.momentum` of optimizer="]),
    Wrong("+optimizer.lr=0.1", ["+optimizer.lr=0.1", "leave out the +"]),
    Wrong("+model.widht=3", ["model.widht", "`model.width`"]),
    Wrong("++model.widht=3", ["model.widht", "`model.width`"]),
    Wrong("+modle.width=3", ["modle.width", "`model.width`"]),
    Wrong("+checkpoint.evry=3", ["checkpoint.evry", "`checkpoint.every`"]),
    Wrong("+early_stopping.patiense=3", ["patiense", "`early_stopping.patience`"]),
    Wrong("early_stopping={patiense:3}", ["early_stopping={patiense:3}", "`early_stopping.patience`"]),
    Wrong("something=1", ["something=1", "no such key", "add a key of your own with +something=1"]),
    Wrong("~epochs", ["~epochs", "cannot be taken out"]),
    Wrong("~early_stopping.patience", ["early_stopping.patience", "cannot be taken out"]),
    Wrong("~nothing", ["~nothing", "no such key"]),
    Wrong("model=linear model.width=3", ["model=linear has no width", "model=mlp has it"]),
    Wrong("activation.inplace=true", ["activation.inplace", "+activation.inplace"]),
    Wrong("hydra.run.dirr=x", ["hydra.run.dirr", "`hydra.run.dir`"]),
    Wrong("hydra.rundir=x", ["hydra.rundir", "`hydra.run.dir`"]),
    Wrong("hydra.run.dir=null", ["hydra.run.dir=null", "not Optional"]),
    Wrong("hydra.searchpath=[file:///ch12/nope]", ["hydra.searchpath", "/ch12/nope", "no such folder"]),
    Wrong("hydra.searchpath=nope", ["hydra.searchpath", "list of strings"]),
    Wrong("hydra.job.env_copy=[CH12_NOPE]", ["hydra.job.env_copy", "CH12_NOPE"]),
]

CHOICES = [
    Wrong("optimzer=sgd", ["optimzer=sgd", "`optimizer`"]),
    Wrong("+optimzer=sgd", ["optimzer", "`optimizer`"]),
    Wrong("optimizer=sdg", ["optimizer=sdg", "`sgd`"]),
    Wrong("optimizer=lbfgs", ["optimizer=lbfgs", "adagrad, adam, adamw, rmsprop, sgd"]),
    Wrong("optimizer=null", ["optimizer cannot be left out", "adam"]),
    Wrong("~optimizer", ["optimizer cannot be left out", "adam"]),
    Wrong("+optimizer=sgd", ["+optimizer=sgd", "write optimizer=sgd"]),
    Wrong("optimizer@inner=sgd", ["optimizer@inner=sgd", "write optimizer=sgd"]),
    Wrong("optimizer/inner=sgd", ["optimizer/inner=sgd", "no such group", "dataset, model"]),
    Wrong("dataset=[iris,two_class]", ["dataset=[iris,two_class]", "one choice"]),
    Wrong("dataset={a:1}", ["dataset={a:1}", "no such key"]),
    Wrong("dataset=mnist", ["dataset=mnist", "ch12 fetches no data", "dataset=idx"]),
    Wrong("model=mpl", ["model=mpl", "`mlp`"]),
    Wrong("activation=rleu", ["activation=rleu", "`relu`"]),
    Wrong("scheduler=cosin", ["scheduler=cosin", "`cosine`"]),
    Wrong("loss=crossentropy", ["loss=crossentropy", "`cross_entropy`"]),
    Wrong("loss=mae", ["loss=mae", "did you mean `l1`?"]),
    Wrong("experiment=iris", ["experiment=iris", "`book/iris`"]),
    Wrong("experiment=book", ["experiment=book", "book/iris"]),
    Wrong("hydra/job_logging=nope", ["hydra/job_logging=nope", "`none`"]),
]

COMBINATIONS = [
    Wrong("loss=mse", ["loss=mse", "3 classes", "loss=cross_entropy"]),
    Wrong("loss=bce", ["loss=bce", "two classes", "loss=cross_entropy"]),
    Wrong("loss=bce_logits", ["loss=bce_logits", "two classes", "loss=cross_entropy"]),
    Wrong("dataset=two_class loss=l1", ["loss=l1", "loss=bce or cross_entropy"]),
    Wrong("dataset=toy_regression loss=cross_entropy", ["loss=cross_entropy", "loss=mse, l1 or huber"]),
    Wrong("dataset=toy_regression loss=nll", ["loss=nll", "loss=mse"]),
    Wrong("dataset=toy_regression model.output=softmax", ["model.output=softmax", "model.output=none"]),
    Wrong("loss=nll model.output=softmax", ["model.output=softmax", "model.output=log_softmax"]),
    Wrong("dataset=two_class loss=bce model.output=none", ["model.output=none", "model.output=sigmoid"]),
    Wrong("dataset=two_class loss=bce_logits model.output=sigmoid", ["model.output=sigmoid", "model.output=none"]),
    Wrong("dataset=toy_regression dataset.split=stratified", ["dataset.split=stratified", "dataset.split=random"]),
    Wrong("dataset.test_size=0.6 dataset.valid_size=0.6", ["test_size=0.6", "valid_size=0.6", "less than 1"]),
    Wrong("optimizer=sgd optimizer.nesterov=true", ["optimizer.nesterov=true", "optimizer.momentum greater than 0"]),
    Wrong(
        "optimizer=sgd optimizer.nesterov=true optimizer.momentum=0.9 optimizer.dampening=0.1",
        ["optimizer.nesterov=true", "optimizer.dampening=0"],
    ),
    Wrong("monitor=valid_loss dataset.valid_size=0", ["monitor=valid_loss", "no validation part", "train_loss"]),
    Wrong("early_stopping.metric=valid_loss dataset.valid_size=0", ["early_stopping.metric", "no validation part"]),
    Wrong("dataset.target_scaling=standard", ["dataset.target_scaling=standard: is for values"]),
    Wrong("dataset.folds=5", ["dataset.folds=5", "add dataset.fold=0", "-m"]),
    Wrong("dataset.folds=3 dataset.fold=3", ["dataset.fold=3: must be less than dataset.folds=3"]),
    Wrong("dataset.fold=1", ["dataset.fold=1: is of no use without dataset.folds"]),
    Wrong("dataset.class_weight=[1,0,2]", ["dataset.class_weight=[1,0,2]", "greater than 0"]),
    Wrong("dataset.class_weight={setosa:x}", ["dataset.class_weight={setosa:x}", "greater than 0"]),
    Wrong("loss=cross_entropy loss.weight=[1,2]", ["loss.weight=[1,2]", "3 classes"]),
    Wrong("loss=nll loss.weight=[1,2,3] dataset.class_weight=balanced", ["loss.weight=[1,2,3]", "class_weight"]),
    Wrong("metrics=[f1,auroc]", ["metrics=[f1,auroc]", "one of balanced_accuracy, f1, auc"]),
    Wrong("metrics=f1 dataset=toy_regression", ["metrics=f1: is for classes"]),
    Wrong("monitor=train_f1 dataset=toy_regression", ["monitor=train_f1: f1 is for classes", "train_mae"]),
    Wrong("monitor=valid_mae", ["monitor=valid_mae", "valid_accuracy"]),
    Wrong("monitor=train_accuracy dataset=toy_regression", ["monitor=train_accuracy", "train_mae"]),
    Wrong("device=mps precision=float64", ["precision=float64", "device=cpu"]),
]

# What is only seen when the data are read, the device is looked for, the network is built or the directory is made.
LATE = [
    Wrong("device=cuda:63", ["device=cuda:63", "this machine has cpu", "device=auto"]),
    Wrong("hydra.run.dir=", ["hydra.run.dir=", "must name a directory"]),
    Wrong("hydra.run.dir=${nope}", ["hydra.run.dir", "'nope' not found"]),
    Wrong("dataset.test_size=150", ["dataset.test_size=150", "none of 150 rows"]),
    Wrong("dataset.test_size=1", ["dataset.split=stratified", "dataset.split=random"]),
    Wrong("dataset=toy_regression dataset.size=5", ["dataset.size=5", "dataset.kind=chapter"]),
    Wrong("dataset=toy_regression dataset.noise=1", ["dataset.noise=1", "dataset.kind=chapter"]),
    Wrong("model.width=1000000 model.depth=1000", ["not enough memory", "smaller"], code=4),
]

SYNTAX = [
    Wrong("epochs", ["epochs", "not understood", "`epochs=…`"]),
    Wrong("nonsense", ["nonsense", "write key=value"]),
    Wrong("=1", ["=1", "not understood"]),
    Wrong("a=b=c", ["a=b=c", "not understood; quote the value, because of =: 'a=\"b=c\"'"]),
    Wrong("model.output=größe", ["not understood; quote the value, because of ö ß: 'model.output=\"größe\"'"]),
    Wrong("dataset.exclude=[größe,a(1)]", ['because of ö ß ( ): \'dataset.exclude=["größe","a(1)"]\'']),
    Wrong("epochs=[1", ["epochs=[1", "not understood"]),
    Wrong("optimizer.lr=interval(0.1)", ["an interval has two bounds: 'optimizer.lr=interval(LOW,HIGH)'"]),
    Wrong("optimizer.lr=log(0.1,0.2)", ["a logarithmic scale is a tag: 'optimizer.lr=tag(log,interval(0.1,0.2))'"]),
    Wrong("clip_grad_norm=choice(null,1.0)", ["choice takes no null; write clip_grad_norm=null,1.0"]),
    Wrong("hydra.sweeper.constraints=a<1", ["because of <: 'hydra.sweeper.constraints=[\"a<1\"]'"]),
    Wrong("epochs={a:", ["epochs={a:", "not understood"]),
    Wrong('epochs="', ['epochs="', "not understood"]),
    Wrong("epochs=${bad", ["epochs=${bad", "not understood"]),
    Wrong("épochs=3", ["pochs=3", "not understood"]),
    Wrong("dataset.folder='\udcff'", ["is not text in UTF-8", "LC_ALL=C.UTF-8"]),
    Wrong("epochs=3\x00", ["epochs=3\\x00", "not understood"]),
    Wrong("--epochs=3", ["--epochs=3", "no such option", "`epochs=3`"]),
    Wrong("--optimizer=sgd", ["--optimizer=sgd", "no such option", "`optimizer=sgd`"]),
    Wrong("--foo epochs=0", ["--foo: no such option", "epochs=0: must be a whole number from 1"], lines=2),
    Wrong(
        "--foo -m seed=1,2 epochs=0,1", ["--foo: no such option", "epochs=0: must be a whole number from 1"], lines=2
    ),
    Wrong("--quite", ["--quite", "`--quiet`"]),
    Wrong("-x", ["-x", "ch12 train --help"]),
    Wrong("--config-dir", ["--config-dir: needs a value; see `ch12 train --help`"]),
    Wrong("--config-dir nowhere", ["--config-dir nowhere", "no such folder"]),
    Wrong("--config-name nothing", ["--config-name nothing", "no such file"]),
    Wrong("--cfg everything", ["--cfg everything: must be one of job, hydra, all; see `ch12 train --help`"]),
    Wrong("--cfg everything epochs=0", ["--cfg everything: must be", "epochs=0: must be"], lines=2),
    Wrong("--plan=yes", ["--plan=yes: --plan takes no value"]),
    Wrong("--resolve", ["--resolve", "--cfg"]),
    Wrong("--cfg job --package optimzer", ["--package optimzer", "`optimizer`"]),
]

TARGETS = [
    Wrong("model._target_=mlp", ["model._target_=mlp", "import path"]),
    Wrong("model._target_=torch.nn.Lineer", ["torch.nn has no Lineer", "`Linear`"]),
    Wrong("model._target_=nosuchmodule.Net", ["no module nosuchmodule", "PYTHONPATH"]),
    Wrong("model._target_=torch.pi", ["torch.pi", "not a class or function"]),
    Wrong("model._target_=torch.nn.Identity", ["torch.nn.Identity", "no parameters to train"]),
    Wrong("optimizer._target_=torch.nn.ReLU", ["torch.nn.ReLU", "must be a torch.optim.Optimizer"]),
    Wrong("activation._target_=torch.nn.Linear", ["activation.in_features", "needs it"], lines=2),
    Wrong("activation._target_=builtins.dict", ["builtins.dict", "must give an nn.Module"]),
    Wrong("+activation.slope=1", ["activation.slope", "no such argument", "inplace"]),
    Wrong("activation=softmax activation.dim=5", ["Dimension out of range"]),
    Wrong("loss._target_=torch.nn.ReLU", ["loss", "ReLU refused"]),
    Wrong("loss._target_=builtins.dict", ["loss._target_=builtins.dict", "must be an nn.Module"]),
    Wrong("loss=cross_entropy +loss.reduction=none", ["loss", "gives shape (2,)", "one number"]),
    Wrong("scheduler._target_=torch.optim.lr_scheduler.StepLR", ["StepLR", "ch12cli.training.schedules.Schedule"]),
    Wrong("dataset._target_=ch12cli.data.irs", ["ch12cli.data has no irs", "`iris`"]),
    Wrong("dataset._target_=math.sqrt", ["dataset: math.sqrt refused"]),
]

USERS_MODULE = """
import torch
from torch import nn


class Raises(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        raise KeyError("no plan")


class ForwardRaises(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.layer(x) @ self.layer(x)


class Flat(ForwardRaises):
    def forward(self, x):
        return self.layer(x).sum(-1)


class Detached(ForwardRaises):
    def forward(self, x):
        return self.layer(x).detach()


class Fixed(nn.Module):
    def __init__(self, inputs, own):
        super().__init__()
        self.layer = nn.Linear(inputs, own)

    def forward(self, x):
        return self.layer(x)


class Tuple(ForwardRaises):
    def forward(self, x):
        return self.layer(x), x


class NeedsMore(ForwardRaises):
    def __init__(self, inputs, outputs, kernel):
        super().__init__(inputs, outputs)


class OwnOptimizer(torch.optim.Optimizer):
    def __init__(self, params, lr, temperature):
        super().__init__(params, {"lr": lr})


def seven(**_):
    return 7


def two_arrays_of_different_length():
    return [[1.0], [2.0]], [0, 1, 0]


def with_nan():
    return [[1.0], [float("nan")], [2.0]], [0, 1, 0]


def ragged():
    return [[1.0], [2.0, 3.0]], [0, 1]


def one_class():
    return [[1.0], [2.0], [3.0]], ["a", "a", "a"]


def raises_its_own():
    class Mine(Exception):
        pass

    raise Mine("the disk with the pictures is not there")
"""

USERS_FILES: dict[str, str | bytes] = {
    "users_parts.py": USERS_MODULE,
    "users_broken.py": "def net(:\n",
    "users_import.py": "import nosuchpackage\n",
    "users_exit.py": "raise SystemExit(3)\n",
    "optimizer/syntax.yaml": "_target_: torch.optim.SGD\nlr: [0.1\n",
    "optimizer/tabs.yaml": "_target_: torch.optim.SGD\n\tlr: 0.1\n",
    "optimizer/latin.yaml": "# café\n_target_: torch.optim.SGD\n".encode("latin-1"),
    "optimizer/empty.yaml": "",
    "optimizer/listed.yaml": "- 1\n- 2\n",
    "optimizer/no_target.yaml": "lr: 0.1\n",
    "optimizer/number_target.yaml": "_target_: 3\nlr: 0.1\n",
    "optimizer/misspelt.yaml": "_target_: torch.optim.NAdan\nlr: 0.1\n",
    "optimizer/argument.yaml": "_target_: torch.optim.NAdam\nmomentum_decai: 0.1\n",
    "optimizer/missing.yaml": "_target_: users_parts.OwnOptimizer\nlr: 0.1\n",
    "optimizer/negative.yaml": "_target_: torch.optim.NAdam\nlr: -1\n",
    "optimizer/refused.yaml": "_target_: torch.optim.NAdam\nlr: 0.1\nmomentum_decay: -1\n",
    "optimizer/closure.yaml": "_target_: torch.optim.LBFGS\n",
    "optimizer/sparse.yaml": "_target_: torch.optim.SparseAdam\n",
    "optimizer/nowhere.yaml": "defaults:\n  - nothing_here\n",
    "optimizer/package.yaml": "# @package foo\n_target_: torch.optim.SGD\n",
    "optimizer/short.yml": "_target_: torch.optim.SGD\n",
    "dataset/nan.yaml": "_target_: ch12cli.data.iris\n",
    "dataset/inf.yaml": "_target_: ch12cli.data.iris\n",
    "optimizer/interpolates.yaml": "_target_: torch.optim.SGD\nlr: ${no.such.key}\n",
    "optimizer/twice.yaml": "_target_: torch.optim.SGD\nlr: 0.1\nlr: 0.2\n",
    "model/raises.yaml": "_target_: users_parts.Raises\n",
    "model/forward.yaml": "_target_: users_parts.ForwardRaises\n",
    "model/flat.yaml": "_target_: users_parts.Flat\n",
    "model/detached.yaml": "_target_: users_parts.Detached\n",
    "model/fixed.yaml": "_target_: users_parts.Fixed\nown: 2\n",
    "model/tuple.yaml": "_target_: users_parts.Tuple\n",
    "model/needs_more.yaml": "_target_: users_parts.NeedsMore\n",
    "model/seven.yaml": "_target_: users_parts.seven\n",
    "model/broken.yaml": "_target_: users_broken.net\n",
    "model/imports.yaml": "_target_: users_import.net\n",
    "model/exits.yaml": "_target_: users_exit.net\n",
    "dataset/seven.yaml": "_target_: users_parts.seven\n",
    "dataset/lengths.yaml": "_target_: users_parts.two_arrays_of_different_length\n",
    "dataset/with_nan.yaml": "_target_: users_parts.with_nan\n",
    "dataset/ragged.yaml": "_target_: users_parts.ragged\n",
    "dataset/one_class.yaml": "_target_: users_parts.one_class\n",
    "dataset/raises.yaml": "_target_: users_parts.raises_its_own\n",
    "experiment/misspelt.yaml": "# @package _global_\nepoch: 3\n",
    "experiment/unpackaged.yaml": "epochs: 3\n",
    "experiment/late.yaml": "epochs: 3\n# @package _global_\n",
    "experiment/capitals.yaml": "# @package _GLOBAL_\nepochs: 3\n",
    "experiment/grouped.yaml": "\ufeff# @package _group_\nepochs: 3\n",
    "experiment/listed.yaml": "- epochs\n- 3\n",
    "experiment/items.yaml": "# @package _global_\n- epochs\n",
    "experiment/text.yaml": "# @package _global_\nepochs=3\n",
    "optimizer/three.yaml": "3\n",
    "experiment/group.yaml": "# @package _global_\ndefaults:\n  - override /optimzer: sgd\n",
    "experiment/choice.yaml": "# @package _global_\ndefaults:\n  - override /optimizer: sdg\n",
    "experiment/value.yaml": "# @package _global_\nepochs: -3\n",
}

FILES = [
    Wrong("optimizer=syntax", ["optimizer/syntax.yaml", "line"]),
    Wrong("optimizer=tabs", ["optimizer/tabs.yaml", "line 2"]),
    Wrong("optimizer=latin", ["optimizer/latin.yaml", "UTF-8"]),
    Wrong("optimizer=empty", ["optimizer._target_: missing", "optimizer/empty.yaml"]),
    Wrong("optimizer=listed", ["optimizer/listed.yaml", "must hold keys", "list"]),
    Wrong("optimizer=no_target", ["optimizer._target_: missing", "optimizer/no_target.yaml"]),
    Wrong("optimizer=number_target", ["optimizer._target_=3", "text"]),
    Wrong("optimizer=misspelt", ["torch.optim has no NAdan", "`NAdam`"]),
    Wrong("optimizer=argument", ["optimizer.momentum_decai", "`momentum_decay`"]),
    Wrong("optimizer=missing", ["optimizer.temperature", "needs it"]),
    Wrong("optimizer=negative", ["optimizer.lr=-1", "greater than 0", "optimizer/negative.yaml"]),
    Wrong("optimizer=refused", ["optimizer", "momentum_decay", "-1"]),
    Wrong("optimizer=closure", ["LBFGS", "closure", "optimizer=adam"]),
    Wrong("optimizer=sparse", ["SparseAdam", "sparse"]),
    Wrong(
        "optimizer=nowhere",
        ["optimizer/nowhere.yaml: its defaults name optimizer/nothing_here, which is not there; optimizer has adagrad"],
    ),
    Wrong("optimizer=package", ["optimizer._target_: missing in optimizer/package.yaml", "below `# @package foo`"]),
    Wrong("optimizer=short", ["optimizer=short: no such choice", "short.yml so that it ends in .yaml"]),
    Wrong("dataset=nan", ["Hydra reads nan as a number", "rename the file, or write 'dataset=\"nan\"'"]),
    Wrong("dataset=inf", ["Hydra reads inf as a number", "rename the file, or write 'dataset=\"inf\"'"]),
    Wrong("optimizer=interpolates", ["optimizer.lr=${no.such.key}", "not found"]),
    Wrong("optimizer=twice", ["optimizer/twice.yaml", "duplicate key lr"]),
    Wrong("model=raises", ["users_parts.Raises refused", "KeyError", "users_parts.py, line 9"]),
    Wrong("model=forward", ["users_parts.ForwardRaises refused", "users_parts.py, line 18"]),
    Wrong("model=flat", ["shape (2,)", "(2, 3)"]),
    Wrong("model=detached", ["does not depend on its parameters"]),
    Wrong("model=tuple", ["gives tuple", "(2, 3)"]),
    Wrong("model=fixed dataset=two_class", ["shape (2, 2)", "needs (2, 1); add loss=cross_entropy"]),
    Wrong("model=fixed model.own=1 dataset=two_class loss=cross_entropy", ["needs (2, 2); add loss=bce_logits"]),
    Wrong("model=needs_more", ["model.kernel", "needs it", "+model.kernel="]),
    Wrong("model=seven", ["users_parts.seven", "gave int", "nn.Module"]),
    Wrong("model=broken", ["users_broken.net", "SyntaxError", "users_broken.py, line 1"]),
    Wrong("model=imports", ["users_import.net", "nosuchpackage", "users_import.py, line 1"]),
    Wrong("model=exits", ["users_exit.net", "SystemExit"]),
    Wrong("dataset=seven", ["users_parts.seven", "returned a int", "(features, target)"]),
    Wrong("dataset=lengths", ["features have 2 rows, target has 3"]),
    Wrong("dataset=with_nan", ["row 1", "nan", "finite"]),
    Wrong("dataset=ragged", ["features cannot be converted to an array"]),
    Wrong("dataset=one_class", ["at least two classes"]),
    Wrong("dataset=raises", ["raises_its_own refused", "Mine: the disk", "users_parts.py"]),
    Wrong("experiment=misspelt", ["epoch: no such key", "`epochs`"]),
    Wrong("experiment=unpackaged", ["experiment/unpackaged.yaml", "first line must be `# @package _global_`"]),
    Wrong("experiment=late", ["experiment/late.yaml", "first line must be `# @package _global_`", "has none"]),
    Wrong("experiment=capitals", ["experiment/capitals.yaml", "first line must be", "is # @package _GLOBAL_"]),
    Wrong("experiment=grouped", ["experiment/grouped.yaml", "first line must be", "is # @package _group_"]),
    Wrong("experiment=listed", ["experiment/listed.yaml: must hold keys"]),
    Wrong("experiment=items", ["experiment/items.yaml: must hold keys"]),
    Wrong("experiment=text", ["experiment/text.yaml: must hold keys"]),
    Wrong("optimizer=three", ["optimizer/three.yaml: must hold keys"]),
    Wrong("experiment=group", ["optimzer"]),
    Wrong(
        "experiment=choice",
        ["experiment/choice.yaml: its defaults name optimizer/sdg, which is not there; did you mean `sgd`?"],
    ),
    Wrong("experiment=value", ["epochs=-3", "whole number from 1"]),
]

EARLY = [*VALUES, *KEYS, *CHOICES, *COMBINATIONS]  # refused by composing and checking alone
WHOLE = [*random.Random(1).sample(EARLY, 10), *LATE, *SYNTAX, *TARGETS]


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user's configuration and code, with many mistakes in it."""
    root = tmp_path_factory.mktemp("users")
    for name, content in USERS_FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def id_of(wrong: Wrong) -> str:
    return wrong.words.encode("ascii", "backslashreplace").decode()


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with hydra_session():
        yield Composer()


@pytest.fixture(scope="module")
def with_users(users: Path) -> Iterator[Composer]:
    with hydra_session():
        yield Composer([users])


def prepare(composer: Composer, words: Sequence[str]) -> None:
    """All that a run does before it makes its directory."""
    composition = checked(composer, words)
    settings = RunSettings.from_config(composition.settings, composition.choices)
    with torch_settings(settings.machine) as device:
        prepare_job(settings, device)


def assert_says(lines: Sequence[str], wrong: Wrong) -> None:
    for said in wrong.says:
        assert said in "\n".join(lines)
    assert len(lines) == wrong.lines, lines
    assert all(len(line) <= LONGEST for line in lines)


def refused(words: Sequence[str], wrong: Wrong, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asserts that the command ends as it should: code, message, nothing on standard output, nothing on disk."""
    assert main(["train", *words]) == wrong.code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert_says(captured.err.splitlines(), wrong)
    assert all(line.startswith("ch12: ") for line in captured.err.splitlines())
    assert list(folder.iterdir()) == []


def test_at_least_150_wrong_inputs_are_tested() -> None:
    found = [*EARLY, *LATE, *SYNTAX, *TARGETS, *FILES]
    assert len(found) >= 150
    assert len({wrong.words for wrong in found}) == len(found)


@pytest.mark.sample(80)
@pytest.mark.parametrize("wrong", EARLY, ids=id_of)
def test_a_wrong_option_is_refused_with_its_name_and_the_reason(wrong: Wrong, composer: Composer) -> None:
    with pytest.raises(InputError) as raised:
        checked(composer, wrong.words.split(" "))
    assert_says(raised.value.messages, wrong)


@pytest.mark.sample(25)
@pytest.mark.parametrize("wrong", WHOLE, ids=id_of)
def test_the_command_refuses_a_wrong_input(wrong: Wrong, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(wrong.words.split(" "), wrong, folder, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [wrong for wrong in EARLY if wrong not in WHOLE], ids=id_of)
def test_the_command_refuses_every_wrong_option(wrong: Wrong, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(wrong.words.split(" "), wrong, folder, capsys)


@pytest.mark.sample(16)
@pytest.mark.parametrize("wrong", FILES, ids=id_of)
def test_a_wrong_user_file_is_refused_with_its_name(
    wrong: Wrong, users: Path, with_users: Composer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(users))
    with pytest.raises(InputError) as raised:
        prepare(with_users, wrong.words.split())
    assert_says(raised.value.messages, wrong)
    assert list(folder.iterdir()) == []


@pytest.mark.sample(3)
@pytest.mark.parametrize("wrong", random.Random(2).sample(FILES, 8), ids=id_of)
def test_the_command_refuses_a_wrong_file(
    wrong: Wrong, users: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(users))
    refused(["--config-dir", str(users), *wrong.words.split()], wrong, folder, capsys)


def test_all_mistakes_of_a_command_line_are_reported_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "epochs=0 batch_size=-1 optimizer=sdg modle=mlp lr=1 +seeed=3 activation=tanh hydra.rundir=x seed=1,2 nonsense"
    )
    words += " model.width=${nope} dataset.test_size=2.5 ~workers"
    assert main(["train", *words.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    for said in (
        "epochs=0: must be a whole number",
        "batch_size=-1: must be a whole number",
        "optimizer=sdg: no such choice; did you mean `sgd`?",
        "modle=mlp: no such key; did you mean `model`",
        "lr=1: no such key; did you mean `optimizer.lr`",
        "seeed: no such key; did you mean `seed`",
        "hydra.rundir=x: no such key; did you mean `hydra.run.dir`",
        "seed=1,2: several values; add -m",
        "nonsense: not understood",
        "model.width=${nope}: ",
        "dataset.test_size=2.5: must be a fraction",
        "~workers: workers cannot be taken out",
    ):
        assert sum(said in line for line in lines) == 1, (said, lines)
    assert len(lines) == 12
    assert list(folder.iterdir()) == []


def test_of_very_many_mistakes_the_first_are_reported_and_the_others_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "experiment").mkdir()
    keys = [f"epoch{number}: 3" for number in range(50)]
    (folder / "experiment" / "mine.yaml").write_text("\n".join(["# @package _global_", *keys]) + "\n")
    assert main(["train", "--config-dir", ".", "experiment=mine"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert all("epoch" in line for line in lines[:-1])
    assert lines[-1] == "ch12: and 31 more like these"


def test_other_mistakes_are_reported_together_with_a_broken_file(
    users: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-cd", str(users), "optimizer=syntax", "modle.width=3", "model=mpl"]) == 2
    said = capsys.readouterr().err
    assert "optimizer/syntax.yaml" in said
    assert "`model.width`" in said
    assert "`mlp`" in said


def test_a_directory_that_is_a_file_or_cannot_be_made_is_refused(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("here already")
    for name in (taken, taken / "below"):
        assert main(["train", f"hydra.run.dir={name}"]) == 2
        said = capsys.readouterr().err
        assert f"hydra.run.dir={name}" in said
        assert "choose another directory" in said
    assert main(["train", "hydra.run.dir=/proc/no/such"]) == 4
    assert "cannot make the run's directory /proc/no/such" in capsys.readouterr().err
    assert main(["train", f"hydra.run.dir={'x' * 300}"]) == 4
    assert "name too long" in capsys.readouterr().err
    assert list(folder.iterdir()) == [taken]
    assert taken.read_text(encoding="utf-8") == "here already"


def test_a_directory_that_holds_a_run_or_part_of_one_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("metrics.csv", "result.json", "model.pt", "checkpoints", ".hydra"):
        held = folder / f"with-{name}"
        (held / name).mkdir(parents=True)
        assert main(["train", f"hydra.run.dir={held}"]) == 2
        said = capsys.readouterr().err
        assert "holds a run already" in said
        assert name in said
        assert [path.name for path in held.iterdir()] == [name]


def test_a_deleted_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    before = Path.cwd()
    os.chdir(gone)
    gone.rmdir()
    try:
        assert main(["train"]) == 2
    finally:
        os.chdir(before)
    assert "current directory no longer exists" in capsys.readouterr().err


def command(*words: str | bytes, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "ch12cli", *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )


def test_the_command_ends_with_only_the_exit_code_and_the_message(folder: Path) -> None:
    done = command("train", "optimizer.lr=-1", folder=folder)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode().startswith("ch12: optimizer.lr=-1: must be a number greater than 0")
    assert done.stderr.count(b"\n") == 1
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_message_can_be_printed_on_an_ascii_terminal_and_with_invalid_bytes(folder: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = command("train", "épochs=3".encode(), folder=folder, **ascii_only)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert done.stderr.isascii()
    words: list[str | bytes] = [sys.executable, "-m", "ch12cli", "train", b"epochs=\xff\xfe"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "words",
    [
        "train optimizer.lr=-1",
        "train optimzer=sgd",
        "train loss=mse",
        "train -x",
        "trian",
        "train +seeed=1",
        "train +optimizer.foo=1",
    ],
)
def test_a_refusal_among_the_shipped_choices_does_not_import_torch(words: str, folder: Path) -> None:
    code = (
        "import sys\nfrom ch12cli.cli.main import main\n"
        f"code = main({words.split()!r})\n"
        "print(code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"
    assert done.stderr.startswith("ch12: ")


def test_a_number_of_rows_of_400_digits_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"dataset.valid_size=1{'0' * 400}"]) == 2
    assert "dataset.valid_size=1000" in capsys.readouterr().err
