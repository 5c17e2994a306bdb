"""The rule and meaning of every configuration key that ch12 ships. Does not import torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ch12cli.rules import (
    LARGEST_NOISE,
    LARGEST_SEED,
    LARGEST_SIDE,
    LARGEST_SIZE,
    AugmentRule,
    ClassWeights,
    Device,
    HalvingRule,
    IntegerRule,
    ItemsRule,
    MappingRule,
    MemoryRule,
    Names,
    Number,
    Odd,
    OneOf,
    Or,
    Pair,
    PathRule,
    PopulationRule,
    Rule,
    ShellLines,
    Size,
    Some,
    TargetRule,
    Text,
    Truth,
    Weights,
    Word,
    describe_rule,
)
from ch12cli.suggest import did_you_mean

SEEDS = IntegerRule(0, LARGEST_SEED)

FURTHER_METRICS = ("balanced_accuracy", "f1", "auc")  # of classes; computed if they are asked for
CLASS_METRICS = ("accuracy", *FURTHER_METRICS)
VALUE_METRICS = ("mae", "r2")
METRICS = ("loss", *CLASS_METRICS, *VALUE_METRICS)
MONITORS = tuple(f"{part}_{metric}" for part in ("train", "valid") for metric in METRICS)


class Key(NamedTuple):
    """The rule for a key's value, and a one-line description of the key."""

    rule: Rule
    meaning: str


KEYS: dict[str, Key] = {
    "epochs": Key(IntegerRule(1), "passes over the training part"),
    "batch_size": Key(IntegerRule(1), "examples in one optimisation step"),
    "workers": Key(IntegerRule(0, 256), "extra processes that load data; 0: the training process loads them"),
    "device": Key(Device(), "where to compute; auto: cuda if there is one, else mps, else cpu"),
    "devices": Key(
        IntegerRule(1, 1024),
        "processes that share each batch of one run, one for each GPU, or on a CPU; torchrun sets it",
    ),
    "shards": Key(
        Or(None, IntegerRule(1, 1024)),
        "parts of each batch, added in order: the same bits for every number of devices that divides it; null: devices",
    ),
    "seed": Key(SEEDS, "seed of the initial weights, the order of the rows and dropout"),
    "monitor": Key(
        OneOf(("auto", *MONITORS)),
        "metric that picks the best epoch; auto: valid_loss where there is validation, else train_loss",
    ),
    "metrics": Key(
        Or(None, Some(FURTHER_METRICS)),
        "further metrics of classes; those that monitor and the like name are computed anyway; null: none",
    ),
    "early_stopping.metric": Key(OneOf(("auto", *MONITORS)), "metric that must improve for training to continue"),
    "early_stopping.patience": Key(
        Or(None, IntegerRule(1)), "epochs without improvement before training stops; null: never"
    ),
    "early_stopping.min_delta": Key(Number(low=0), "by how much an epoch must be better to count as improvement"),
    "clip_grad_norm": Key(Or(None, Number(above=0)), "largest norm of the whole gradient; null: no clipping"),
    "clip_grad_value": Key(
        Or(None, Number(above=0)), "largest absolute value of a gradient element; null: no clipping"
    ),
    "record_norms": Key(
        Truth(),
        "add the norms of gradient (mean over the steps, before clipping) and weights to metrics.csv, in each epoch",
    ),
    "precision": Key(
        OneOf(("float32", "float64", "bfloat16")),
        "numbers to compute with; bfloat16: autocast, the weights stay float32",
    ),
    "compile": Key(Truth(), "compile the network with torch.compile"),
    "deterministic": Key(Truth(), "only algorithms that give the same bits every time"),
    "threads": Key(
        Or("auto", IntegerRule(1, 1024)),
        "threads of torch's own operations; auto: one for small networks, else torch's choice",
    ),
    "pin_memory": Key(Truth(), "keep batches in page-locked memory on their way to a GPU"),
    "stream_offset": Key(IntegerRule(0, 10**6), "64-bit numbers to discard from the random stream at the start"),
    "checkpoint.every": Key(
        Or("auto", IntegerRule(1)), "epochs between checkpoints; auto: as often as costs under two per cent of the time"
    ),
    "logger": Key(
        Some(("csv", "tensorboard", "mlflow", "wandb")),
        "further trackers that receive the metrics; csv: only metrics.csv, which every run writes",
    ),
    "imports": Key(
        Names(), "modules of your own that are imported before composition, for their resolvers and ConfigStore entries"
    ),
    # sweep
    "sweep.max_stacked": Key(
        Or("auto", IntegerRule(1, 65_536)),
        "most runs that are trained as one stack; auto: as many as are fastest and fit",
    ),
    "sweep.processes": Key(
        Or("auto", IntegerRule(1, 1024)),
        "processes that train in parallel; auto: one for each core, or one for each GPU",
    ),
    "sweep.fused": Key(
        Or("auto", Truth()),
        "train whole epochs of a stack by compiled code; auto: on a CPU with a C compiler, where it is worth it",
    ),
    "sweep.fail_fast": Key(Truth(), "end the sweep when a job fails, instead of training the others"),
    "sweep.verify": Key(
        IntegerRule(0), "number of finished jobs to train again as single runs, to show the difference"
    ),
    "sweep.record": Key(
        OneOf(("directories", "compact")),
        "how the jobs of stacks are recorded: each in a directory, or all of a stack in one file",
    ),
    "sweep.halving": Key(HalvingRule(MONITORS), "stop the worse runs early: {metric, min_epochs, factor}; null: never"),
    "sweep.pbt": Key(
        PopulationRule(MONITORS),
        "let the worse runs go on from the better ones, with perturbed numbers: {metric, every, numbers}; null: never",
    ),
    # dataset
    "dataset.shape": Key(OneOf(("xor", "moons", "circles", "spirals", "blobs")), "shape of the two classes"),
    "dataset.kind": Key(OneOf(("chapter", "line", "curve")), "the chapter's ten points, or a generated line or curve"),
    "dataset.size": Key(IntegerRule(2, LARGEST_SIZE), "examples that are generated"),
    "dataset.noise": Key(Number(low=0, high=LARGEST_NOISE), "standard deviation of the noise"),
    "dataset.seed": Key(SEEDS, "seed of the generated examples"),
    "dataset.folder": Key(Or(None, Text()), "folder of the images; null: discs and squares that are drawn"),
    "dataset.train_images": Key(Text(), "the file of the pictures to train on, in dataset.folder, also with .gz"),
    "dataset.train_labels": Key(Text(), "the file of their classes"),
    "dataset.test_images": Key(Or(None, Text()), "the file of the pictures of the test part; null: test_size"),
    "dataset.test_labels": Key(Or(None, Text()), "the file of their classes; null: test_size"),
    "dataset.class_names": Key(Or(None, Names()), "names of the classes in the order of the labels; null: the labels"),
    "dataset.labels": Key(
        OneOf(("auto", "folder", "name")),
        "what names an image's class: its folder, or the letters its name begins with; auto: folders, if any",
    ),
    "dataset.height": Key(IntegerRule(1, LARGEST_SIDE), "height of each image after resizing, in pixels"),
    "dataset.width": Key(IntegerRule(1, LARGEST_SIDE), "width of each image after resizing, in pixels"),
    "dataset.colour": Key(Truth(), "three channels (red, green, blue) instead of one grey channel"),
    "dataset.augment": Key(
        AugmentRule(("flip", "vertical_flip", "shift", "rotation", "crop", "brightness", "seed")),
        "random changes of the training pictures, anew in each epoch; or a callable of your own; null: none",
    ),
    "dataset.train": Key(TargetRule(), "a torch Dataset of your own, or what is like it: {_target_: my.Dataset, ...}"),
    "dataset.valid": Key(Or(None, TargetRule()), "that of the validation part; null: valid_size"),
    "dataset.test": Key(Or(None, TargetRule()), "that of the test part; null: test_size"),
    "dataset.inputs": Key(Or(None, Text()), "the key of the input, where rows are mappings; null: the only other one"),
    "dataset.cache": Key(
        OneOf(("auto", "none", "memory", "disk")),
        "where decoded pictures are kept; none: decoded in each epoch; auto: few at once, more in memory if they fit",
    ),
    "dataset.test_size": Key(Size(), "test part: a fraction of the rows, or a number of rows"),
    "dataset.valid_size": Key(Size(), "validation part: a fraction of the rows, or a number of rows"),
    "dataset.split": Key(
        OneOf(("random", "stratified", "ordered")),
        "how rows are divided; stratified: each class in proportion; ordered: in the order of the rows",
    ),
    "dataset.split_seed": Key(SEEDS, "seed of the split, apart from the run's own seed"),
    "dataset.folds": Key(
        Or(None, IntegerRule(2, 1000)),
        "cross-validation: the rows that are not for the test are divided into so many folds; null: valid_size",
    ),
    "dataset.fold": Key(
        Or(None, IntegerRule(0, 999)), "the fold to validate on, from 0; with -m, null stands for each of them"
    ),
    "dataset.scaling": Key(
        OneOf(("standard", "global", "none")),
        "standard: each feature to mean 0, deviation 1; global: one mean and deviation for all; none",
    ),
    "dataset.target_scaling": Key(
        OneOf(("standard", "none")),
        "standard: values are learned with mean 0 and deviation 1, and reported in their own units; none",
    ),
    "dataset.class_weight": Key(
        Or(None, ClassWeights()),
        "how much each class counts in the loss; balanced: all alike, however many rows they have; null: as many rows",
    ),
    "dataset.file": Key(
        PathRule("a file, or a pattern of several"), "the table to learn from: CSV, TSV, Parquet, Arrow, numpy's"
    ),
    "dataset.target": Key(Or(None, Text()), "the column to learn, by name; null: the last one"),
    "dataset.features": Key(
        Names(("all", "numbers", "categories")),
        "columns to learn from: all others, those of numbers, those of categories, or a list of names",
    ),
    "dataset.exclude": Key(Names(), "columns that are left out"),
    "dataset.categories": Key(Names(), "columns of numbers that are categories, as columns of text are anyway"),
    "dataset.numbers": Key(Names(), "columns of dates, of times, or of numbers with a unit, that are read as numbers"),
    "dataset.weight": Key(Or(None, Text()), "the column of how much each row counts in the loss; null: all alike"),
    "dataset.group": Key(
        Or(None, Text()), "the column whose equal texts keep rows together in a split, such as a patient; null: none"
    ),
    "dataset.target_type": Key(
        OneOf(("auto", "classes", "values")),
        "what the target holds; auto: classes where it is text, or at most 20 different whole numbers",
    ),
    "dataset.missing": Key(
        OneOf(("refuse", "drop", "mean", "median")),
        "what to do with missing values; mean, median: fill in that of the column in the training part",
    ),
    "dataset.separator": Key(
        OneOf(("auto", "comma", "semicolon", "tab", "bar", "space")),
        "what separates columns; auto: tabs in .tsv, commas in others",
    ),
    "dataset.decimal": Key(
        OneOf(("auto", "point", "comma")),
        "the decimal separator; the other one separates thousands; auto: point, and numbers with commas are refused",
    ),
    "dataset.header": Key(Truth(), "whether a line names the columns; if not they are column_1, column_2, and so on"),
    "dataset.skip_lines": Key(IntegerRule(0, 10**6), "lines before the header, or before the rows if there is none"),
    "dataset.memory": Key(
        MemoryRule(), "memory for reading; larger tables are read from disk in training; auto: half of what is free"
    ),
    # model
    "model.width": Key(IntegerRule(1, 10**6), "units of each hidden layer"),
    "model.depth": Key(IntegerRule(0, 1000), "hidden layers; of cnn: convolutions"),
    "model.channels": Key(
        IntegerRule(1, 4096), "channels of the first convolution; each further one has twice as many"
    ),
    "model.kernel_size": Key(Odd(99), "pixels that a convolution looks at, each way"),
    "model.dropout": Key(Number(low=0, below=1), "probability that a hidden unit is left out in a training step"),
    "model.output": Key(
        OneOf(("auto", "none", "sigmoid", "softmax", "log_softmax")),
        "activation of the output; auto: what the loss expects",
    ),
    "model.init": Key(
        OneOf(("torch", "xavier", "kaiming", "normal")),
        "initial weights: torch's own, Glorot's, He's, or standard normal; all but the first with biases 0",
    ),
    # activation
    "activation.negative_slope": Key(Number(low=0), "slope below zero"),
    "activation.alpha": Key(Number(above=0), "minus the value far below zero"),
    "activation.approximate": Key(OneOf(("none", "tanh")), "exact, or the faster approximation by tanh"),
    "activation.beta": Key(Number(above=0), "sharpness: the higher, the closer to ReLU"),
    "activation.dim": Key(IntegerRule(-1, 8), "axis that adds up to 1; -1: the units"),
    # loss
    "loss.delta": Key(
        Number(above=0), "error where squared turns into absolute, in the units of the target, scaled or not"
    ),
    "loss.weight": Key(
        Or(None, Weights()), "how much each class counts, a list in the order of the classes; null: all rows alike"
    ),
    "loss.pos_weight": Key(
        Or(None, Weights(length=1)), "how much a row of the second class counts against one of the first; null: alike"
    ),
    "loss.label_smoothing": Key(Number(low=0, high=1), "share of each target spread over all classes"),
    # optimizer
    "optimizer.lr": Key(Number(above=0, below=1e38), "learning rate: the size of a step"),
    "optimizer.momentum": Key(Number(low=0), "share of the last step's direction that is kept"),
    "optimizer.dampening": Key(Number(), "how much less of the gradient enters the momentum"),
    "optimizer.nesterov": Key(Truth(), "Nesterov's momentum: look ahead before the step"),
    "optimizer.weight_decay": Key(Number(low=0), "pull of the weights towards zero"),
    "optimizer.betas": Key(
        Pair(Number(low=0, below=1)), "decay of the running means of the gradient and of its square"
    ),
    "optimizer.eps": Key(Number(low=0), "added to the denominator so that it is never zero"),
    "optimizer.amsgrad": Key(Truth(), "keep the largest running mean of the square (AMSGrad)"),
    "optimizer.alpha": Key(Number(low=0), "decay of the running mean of the gradient's square"),
    "optimizer.centered": Key(Truth(), "divide by the gradient's deviation instead of its square"),
    "optimizer.lr_decay": Key(Number(low=0), "fall of the learning rate with every step"),
    "optimizer.initial_accumulator_value": Key(Number(low=0), "what the sum of squares starts from"),
    # scheduler
    "scheduler.warmup": Key(Number(low=0), "epochs over which the learning rate rises to its value, step by step"),
    "scheduler.step_size": Key(IntegerRule(1), "epochs between two falls of the learning rate"),
    "scheduler.gamma": Key(Number(above=0), "factor of each fall"),
    "scheduler.T_max": Key(Or(None, IntegerRule(1)), "epochs down to the smallest rate; null: all of the run"),
    "scheduler.eta_min": Key(Number(low=0), "smallest learning rate"),
    "scheduler.pct_start": Key(Number(above=0, below=1), "share of the run in which the rate rises"),
    "scheduler.div_factor": Key(Number(above=0), "the first rate is the peak divided by this"),
    "scheduler.final_div_factor": Key(Number(above=0), "the last rate is the first divided by this"),
    "scheduler.anneal_strategy": Key(OneOf(("cos", "linear")), "shape of rise and fall"),
    "scheduler.factor": Key(Number(above=0, below=1), "factor of each fall"),
    "scheduler.patience": Key(IntegerRule(0), "epochs without improvement before a fall"),
    "scheduler.threshold": Key(Number(low=0), "by how much an epoch must be better to count as improvement"),
    "scheduler.threshold_mode": Key(OneOf(("rel", "abs")), "whether the threshold is a share or a difference"),
    "scheduler.cooldown": Key(IntegerRule(0), "epochs after a fall in which nothing is counted"),
    "scheduler.min_lr": Key(Number(low=0), "the rate never falls below this"),
    "scheduler.eps": Key(Number(low=0), "smaller falls are skipped"),
}

# The keys of Hydra's `instantiate`, valid at the top of each group and in its arguments.
INSTANTIATION = {
    "_target_": Key(Text(), "what is built: the import path of a class or function"),
    "_args_": Key(ItemsRule(), "positional arguments of what is built"),
    "_partial_": Key(Truth(), "whether the caller completes the call; at the top of a group the caller is ch12"),
    "_convert_": Key(OneOf(("none", "partial", "object", "all")), "none: arguments as OmegaConf's containers"),
    "_recursive_": Key(Truth(), "whether targets in the arguments are built too"),
}

GROUPS = {
    "dataset": "what to learn from",
    "model": "the network",
    "activation": "what each hidden unit does to its input",
    "loss": "what is minimised",
    "optimizer": "how the weights are changed",
    "scheduler": "how the learning rate changes over the run",
    "experiment": "presets: several choices at once",
}

# Hydra's own keys that are useful on the command line, with their meanings.
HYDRA_KEYS = {
    "hydra.run.dir": "the directory of a run",
    "hydra.sweep.dir": "the directory of a sweep, in which its jobs have theirs",
    "hydra.sweep.subdir": "the directory of each job of a sweep, below the sweep's, such as 'seed_${seed}'",
    "hydra.searchpath": "further folders of configuration files: [file://DIR]",
    "hydra.job.name": "the name of the program in Hydra's own files",
}


STACKED_LAUNCHERS = tuple(
    f"hydra_plugins.ch12_stacked.{name}Launcher" for name in ("Stacked", "Slurm", "Executor")
)  # train stacks, the first in processes of this machine
PREFIX_OF_LAUNCHER = "hydra.launcher."
LAUNCHER_KEYS: dict[str, dict[str, Key]] = {
    "slurm": {
        "partition": Key(Or(None, Word()), "the partition to submit to; null: the cluster's default"),
        "timeout_min": Key(
            IntegerRule(1),
            "time limit of each array job, in minutes; at the limit it writes checkpoints and is queued again",
        ),
        "cpus_per_task": Key(IntegerRule(1), "cores of each array job, which trains as many stacks at once"),
        "gpus_per_node": Key(Or(None, IntegerRule(0)), "GPUs of each array job"),
        "mem_gb": Key(Or(None, Number(above=0)), "memory of each array job, in GiB; its stacks are cut to fit into it"),
        "account": Key(Or(None, Word()), "the account to charge"),
        "qos": Key(Or(None, Word()), "the quality of service"),
        "constraint": Key(Or(None, Word()), "features that a node must have"),
        "array_parallelism": Key(IntegerRule(1), "array jobs at once, at most"),
        "setup": Key(Or(None, ShellLines()), "lines of bash to run before ch12"),
        "additional_parameters": Key(Or(None, MappingRule("nice: 100")), "further options of sbatch"),
        "signal_delay_s": Key(
            IntegerRule(1), "seconds before the time limit at which checkpoints are written; less than the time limit"
        ),
        "wait": Key(Truth(), "follow the sweep to its end; false: return when it is submitted, as --detach"),
    },
    "executor": {
        "executor": Key(
            MappingRule("_target_: loky.get_reusable_executor"),
            "what is built; it, or what its get_executor returns, has submit",
        ),
        "parallel": Key(IntegerRule(1), "tasks at once; a sweep is divided into at most as many"),
        "cpus_per_task": Key(IntegerRule(1), "stacks that each task trains at once"),
    },
}


def launcher_problems(launcher: str, options: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the options of a launcher."""
    keys, problems = LAUNCHER_KEYS[launcher], []
    for name, value in options.items():
        if name not in keys:
            problems.append(
                f"{PREFIX_OF_LAUNCHER}{name}: no such key of hydra/launcher={launcher}{did_you_mean(name, keys)}"
            )
        elif not keys[name].rule.allows(value):
            rule = describe_rule(f"{PREFIX_OF_LAUNCHER}{name}", keys[name].rule)
            problems.append(f"{PREFIX_OF_LAUNCHER}{name}={value}: must be {rule}")
    return problems


def key_of(path: str) -> Key | None:
    """Returns the rule and meaning of a dotted key, or None for a key that ch12 does not ship."""
    return (INSTANTIATION if "." in path else KEYS).get(path.rpartition(".")[2]) or KEYS.get(path)
