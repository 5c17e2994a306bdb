"""How verbs are typed, what they do, and lines to copy: what `ch12 VERB --help` prints of each."""

from typing import NamedTuple


class VerbPage(NamedTuple):
    """usage: as typed, without `ch12`; about: paragraphs; examples: (line, what happens); more: (what, meaning)."""

    usage: str
    about: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    more: tuple[tuple[str, str], ...] = ()


RUN = "outputs/2026-05-17/10-24-31-iris-mlp"  # a directory as `ch12 train` prints it

TRUST = (
    "A run's directory is read as data: nothing in it is executed, and it may name only what ch12 and torch ship. "
    "--trust lets a run of your own name your own classes."
)

PAGES = {
    "show": VerbPage(
        "show RUN|SWEEP",
        (
            "How a run ended, its figures and its learning curve, its choices, what it ran on, and the line that "
            "repeats it; of a sweep what differed, best first, seeds folded, and what went wrong. Nothing is computed.",
        ),
        (
            ("ch12 show @1", "the newest"),
            ("ch12 show my_sweep/17", "a job of a sweep"),
            ("ch12 show @best", "the best"),
        ),
    ),
    "plot": VerbPage(
        "plot [OPTION]... RUN...|SWEEP",
        (
            "Draws learning curves, decision boundaries, confusion matrices and regression lines of runs, and of a "
            "sweep what came of it over its keys: in the terminal, or with -o as PNG or SVG, for which the extra "
            "`plots` (matplotlib) must be installed. Several runs are drawn over each other; seeds as their mean and "
            "the band they lie in. Unless --kind says what, a run's curves are drawn, and of a sweep a heat map over "
            "two keys, a slice over one, or the distribution over its seeds.",
            TRUST,
        ),
        (
            ("ch12 plot @1", "the newest run's curves, or what suits the newest sweep"),
            ("ch12 plot @1 @2 -o curves.png", "two runs over each other, as a file"),
            ("ch12 plot @best --kind boundary", "what the best run finds where"),
            ("ch12 plot my_sweep --kind heatmap --x optimizer.lr --y model.width -o map.svg", "over two keys"),
            ("ch12 plot my_sweep --kind distribution --metric test_accuracy", "a thousand seeds at a glance"),
        ),
    ),
    "book": VerbPage(
        "book [OPTION]... [SECTION|ITEM]...",
        (
            "Runs the items of Chapter 12 of the book, and holds what they print against what the book prints: a list "
            "of all, a section with its demonstrations (12.1 to 12.4), or items by number (1 to 28). Each item is a "
            "short program that can be copied. On another device or in another type, differences do not fail.",
        ),
        (
            ("ch12 book", "all items, and whether each is as in the book"),
            ("ch12 book 24", "Iris, saved and loaded"),
            ("ch12 book 12.4", "activations, and vanishing gradients measured"),
            ("ch12 book --check", "for CI: exit code 3 if a digit differs"),
            ("ch12 book --format ipynb -o chapter12.ipynb", "a notebook that runs from top to bottom"),
        ),
    ),
    "bench": VerbPage(
        "bench loader [OPTION]... [KEY=VALUE]...",
        (
            "Measures how fast batches of a data set come with how many worker processes, fetched item by item or a "
            "batch at once, and says which setting to use. The costs are work that is added: to each item, as decoding "
            "an image would, and to each step, as training would; they show where the bottleneck lies.",
        ),
        (
            ("ch12 bench loader", "Iris, with 0, 1, 2 and 4 workers"),
            ("ch12 bench loader batch_size=16 workers=0,2,4 --item-cost 2ms", "items that take work"),
            ("ch12 bench loader --step-cost 5ms --fetch both", "steps that take longer than loading"),
        ),
    ),
    "report": VerbPage(
        "report [OPTION]... RUN|SWEEP",
        (
            "Writes one HTML file with the figures, tables, configuration and environment of a run or a sweep, and the "
            "commands that repeat it. It loads nothing, and looks right on a phone, in print and in the dark; the jobs "
            "of a sweep can be sorted and filtered in it. Needs the extra `plots` (matplotlib).",
        ),
        (("ch12 report @1 -o report.html", "the newest"), ("ch12 report my_sweep -o sweep.html", "a sweep")),
    ),
    "export": VerbPage(
        "export [OPTION]... RUN",
        (
            "Writes a saved run for use without ch12. onnx and torch_export: the network with its scaling in front, so "
            "that it takes rows as they stand in the data, and gives its output and, of classes, their probabilities; "
            "the file is read again and compared before it is kept. onnx needs the extra `onnx`. script: a short "
            "program of PyTorch alone, with the data beside it, that trains the same run and ends with the same bits.",
            TRUST,
        ),
        (
            ("ch12 export @1", "the newest run as a program"),
            ("ch12 export @best --format onnx -o iris.onnx", "the best network, for onnxruntime"),
            ("ch12 export @1 --format torch_export", "for torch.export.load"),
        ),
    ),
    "watch": VerbPage(
        "watch RUN|SWEEP",
        (
            "Follows what another process trains, until it ends, and then shows it: of a run each epoch, of a sweep "
            "its jobs, the epochs of all of them, and the time left. It only reads: Ctrl-C ends the watching, not the "
            "run.",
        ),
        (("ch12 watch @1", "the newest"),),
    ),
    "tag": VerbPage(
        "tag [OPTION]... RUN [WORD]...",
        ("Gives a run or a sweep words of your own; without a word, prints those that it has.",),
        (
            ("ch12 tag @1 baseline good", "gives the newest two words"),
            ("ch12 runs --filter tags~baseline", "finds it by one"),
            ("ch12 tag @1 good --remove", "takes one away"),
        ),
    ),
    "rm": VerbPage(
        "rm [OPTION]... RUN...",
        (
            "Shows runs and sweeps, asks, and removes them with all that is in their directories. Removes nothing that "
            "is no run, or is being written, or is a job of a sweep; links are not followed.",
        ),
        (
            ("ch12 rm @1", "the newest, after asking"),
            ("ch12 rm --status failed --older 30d", "failed ones that began a month ago"),
            ("ch12 rm --status killed --yes", "without asking, as in a script"),
        ),
    ),
    "compare": VerbPage(
        "compare [OPTION]... RUN RUN...|SWEEP",
        (
            "Only what differs, in configuration, environment and results, side by side, the best marked by *. Of a "
            "sweep, or of more than four runs of one metric on the same data, a row for each combination, best first, "
            "seeds folded into the mean and its 95 % confidence interval (Student's t). Nothing is computed anew.",
        ),
        (
            ("ch12 compare @1 @2", "the newest two"),
            ("ch12 compare my_sweep", "the combinations of a sweep"),
            ("ch12 compare my_sweep --limit 50", "more of them"),
            ("ch12 compare my_sweep --format md", "for a text"),
        ),
    ),
    "runs": VerbPage(
        "runs [OPTION]... [FOLDER|SWEEP]",
        (
            "Lists the runs and sweeps below a folder (outputs/ unless given), newest first; of a sweep its jobs. A "
            "run that was killed is called so, a damaged one damaged; what is running is known by its lock.",
            "A filter compares results (test_accuracy, objective, epochs, seconds, status …) and configuration keys "
            "(optimizer.lr) by = != < <= > >= and ~ (contains), joined by and, or, not and parentheses.",
            "Wherever a command takes RUN, a path will do, or any part of one that only one run has, @1 for the "
            "newest, @2 for the one before, @best for the best on the newest one's data, or SWEEP/17: ch12 eval @1.",
        ),
        (
            ("ch12 runs", "all below outputs/"),
            ('ch12 runs --filter "test_accuracy>0.95 and optimizer.lr<0.1"', "some"),
            ("ch12 runs --sort objective --limit 10", "the least objectives"),
            ('ch12 runs @1 --filter "model.width=8"', "some jobs of the newest sweep"),
            ("ch12 runs @1 --format csv", "the jobs of the newest sweep, for a spreadsheet"),
        ),
    ),
    "explain": VerbPage(
        "explain [OPTION]... NAME [GROUP=CHOICE]... [KEY=VALUE]...",
        (
            "Tells what a key, a group or a choice means, what it may be, its default, and the file or word that sets "
            "it in the run that `ch12 train` would make of the same words.",
        ),
        (
            ("ch12 explain optimizer.lr", "a key"),
            ("ch12 explain optimizer", "a group, with its choices"),
            ("ch12 explain optimizer=sgd", "a choice, with its keys"),
            ("ch12 explain optimizer.lr experiment=book/iris", "who sets it in that run"),
        ),
    ),
    "resume": VerbPage(
        "resume [OPTION]... RUN|SWEEP [KEY=VALUE]...",
        (
            "Goes on where a run or a sweep stopped, bit for bit as if it never had. A run that is done is left as it "
            "is; a larger number of epochs trains it on. Of a sweep only what is missing is done.",
            "Changes that would make another run of it are refused; with --fork they make a new run, beside the old "
            "one, that knows its parent.",
            TRUST,
        ),
        (
            (f"ch12 resume {RUN}", "goes on after Ctrl-C or a kill"),
            (f"ch12 resume {RUN} epochs=200", "trains a finished run on"),
            (f"ch12 resume {RUN} --fork optimizer.lr=0.0001", "a new run from here"),
            ("ch12 resume outputs/2026-05-17/10-30-02-sweep", "does what is missing of a sweep"),
        ),
    ),
    "eval": VerbPage(
        "eval [OPTION]... RUN",
        (
            "Loss and metrics of a saved run on a part of its data, equal to those that training noted; for classes "
            "the confusion matrix, and precision, recall, F1 and number of rows of each class. A share of nothing is "
            "shown as -. On the training part the figures are those of the network as it is, which metrics.csv "
            "notes while it still learns.",
            "The data are compared with those of the training. A run out of a stacked sweep gives its figures up to "
            "rounding.",
            TRUST,
        ),
        (
            (f"ch12 eval {RUN}", "figures on the test part"),
            (f"ch12 eval {RUN} --split all --checkpoint best", "all parts, after the best epoch"),
            (f"ch12 eval {RUN} --format json", "for a program to read"),
        ),
    ),
    "predict": VerbPage(
        "predict [OPTION]... RUN FILE.csv|IMAGE|FOLDER|-",
        (
            "Class and probabilities, or the value, for every row of a CSV file (UTF-8, commas, a header). Columns are "
            "found by the names of the features in training, in whatever order; all other columns are carried "
            "through. The scaling is that of the training; the training data are not needed.",
            "The answer has a column `predicted` and, for classes, one p_CLASS for each class, in full precision; "
            "table rounds them. A file with a mistake gives no answer but the line and column of it.",
            "A run on images (dataset=image_folder) takes an image or a folder of them, resized to the size of the "
            "training; the answer's first column `file` names each.",
            TRUST,
        ),
        (
            (f"ch12 predict {RUN} flowers.csv", "prints CSV"),
            (f"ch12 predict {RUN} flowers.csv -o answer.csv", "writes a file, whole or not at all"),
            (f"cut -d, -f1-5 all.csv | ch12 predict {RUN} -", "reads standard input"),
            (f"ch12 predict {RUN} flowers.csv --format table", "to look at"),
            (f"ch12 predict {RUN} holidays", "the images in a folder"),
        ),
    ),
    "repro": VerbPage(
        "repro [OPTION]... RUN",
        (
            "Trains a run again from its record, in memory, and compares weights and figures of all epochs with what "
            "it left behind. Says that it is the same, bit for bit, or from which epoch on it differs, by how much, "
            "and what differs in the environment; also which of its files were changed since. Nothing is written.",
            "A run out of a stacked sweep agrees up to rounding; its largest difference is shown. A run that was "
            "resumed or trained on is repeated as one run.",
            TRUST,
        ),
        ((f"ch12 repro {RUN}", "trains it again and compares"),),
        (("exit code 0", "the same"), ("exit code 3", "it differs, or a file of it was changed")),
    ),
}
