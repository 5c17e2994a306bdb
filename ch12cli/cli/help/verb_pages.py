"""The help page of each verb: `ch12 VERB --help` prints it."""

from typing import NamedTuple

from ch12cli.catalogue.ensembles import takers_in_words


class VerbPage(NamedTuple):
    """usage: without `ch12`; about: paragraphs; examples: (command, what it does); more: (label, text)."""

    usage: str
    about: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    more: tuple[tuple[str, str], ...] = ()


TAKERS = takers_in_words(quote="`", before="ch12 ")  # of ensembles
EXAMPLE_RUN = "outputs/2026-05-17/10-24-31-iris-mlp"  # a directory as `ch12 train` prints it
EXAMPLE_SWEEP = "outputs/2026-05-17/10-30-02-sweep"

TRUST = (
    "A run's directory is read as data: nothing in it is executed. Its configuration may name only classes of ch12 and "
    "torch. --trust allows classes of your own in a run of your own."
)

PAGES = {
    "tune": VerbPage(
        "tune [OPTION]... [GROUP=CHOICE]... [KEY=VALUE]...",
        (
            "Searches the learning rate, width, depth, activation, optimizer, weight decay and batch size of a network "
            "in ranges that suit the data (conf/search), each by cross-validation (tables of more than 50,000 rows: by "
            "a validation part). Prints the best with its interval beside baselines: logistic regression for classes, "
            "a linear model for values, and scikit-learn's models with their defaults where it is installed. Leaves an "
            "ordinary sweep; the printed command repeats the search.",
            "Then trains up to six of the best settings with five seeds each on all rows but those of the test, and "
            f"averages these networks: the final model, which {TAKERS} take.",
            "Ranges and values on the command line replace those of the file.",
        ),
        (
            (
                "ch12 tune dataset=csv dataset.file=x.csv --budget 2m",
                "the best network for a table, within two minutes",
            ),
            ("ch12 tune --trials 64 epochs=30", "64 settings for the iris flowers, of 30 epochs each"),
            ("ch12 tune 'model.width=16,64,256' optimizer=adam", "other widths, and one optimizer"),
        ),
    ),
    "show": VerbPage(
        "show RUN|SWEEP",
        (
            "Shows how a run ended, its metrics and learning curve, its configuration, its environment, and the "
            "command that repeats it. For a sweep, shows what differs between the jobs, best first, averaged over "
            "seeds, and the errors. Nothing is computed.",
        ),
        (
            ("ch12 show @1", "the newest run or sweep"),
            ("ch12 show my_sweep/17", "a job of a sweep"),
            ("ch12 show @best", "the best run"),
        ),
    ),
    "plot": VerbPage(
        "plot [OPTION]... RUN...|SWEEP",
        (
            "Plots the learning curves and the predictions of a run, and the results of a sweep over its keys. The "
            "plot is printed in the terminal, or with -o saved as PDF, PNG or "
            "SVG; that needs the extra `plots` (matplotlib).",
            "Several runs share one plot; seeds become their mean and a band. Without --kind, a run is plotted as "
            "learning curves, and a sweep as a heat map over two keys, a slice over one, or the distribution over "
            "its seeds.",
            "For a paper: --x takes the key of the x axis, --by draws a line for each value of a second key, with the "
            "95 % confidence interval over the seeds, and --facet a panel for each value of a third. Keys that are not "
            "shown have their best setting at each point.",
            TRUST,
        ),
        (
            (
                "ch12 plot my_sweep --x optimizer.lr --by model.width --style paper -o lr.pdf",
                "a figure for a paper: the metric against learning rate, a line for each width, intervals over seeds",
            ),
            ("ch12 plot @1", "the newest run's curves, or what suits the newest sweep"),
            ("ch12 plot @1 @2 -o curves.png", "two runs in one plot, as a file"),
            ("ch12 plot @best --kind boundary", "the decision boundary of the best run"),
            ("ch12 plot my_sweep --kind heatmap --x optimizer.lr --y model.width -o map.svg", "a heat map"),
            ("ch12 plot my_sweep --kind distribution --metric test_accuracy", "the results of all seeds"),
            (
                "ch12 plot my_sweep --kind pair --metric seconds,test_accuracy",
                "what accuracy costs",
            ),
        ),
    ),
    "book": VerbPage(
        "book [OPTION]... [SECTION|ITEM]...",
        (
            "Runs the items of Chapter 12 of the book and compares their output with the output that the book prints. "
            "Without operands, lists all items. A section (12.1 to 12.4) includes its demonstrations; an item is named "
            "by its number (1 to 28). Each item is a short program to copy. On another device or with another type, "
            "differences are no failure.",
        ),
        (
            ("ch12 book", "all items, and whether each agrees with the book"),
            ("ch12 book 24", "Iris, saved and loaded"),
            ("ch12 book 12.4", "activations, and a measurement of vanishing gradients"),
            ("ch12 book --check", "for CI: exit code 3 if a digit differs"),
            ("ch12 book --format ipynb -o chapter12.ipynb", "a notebook of the chapter"),
        ),
    ),
    "bench": VerbPage(
        "bench loader|parallel [OPTION]... [KEY=VALUE]...",
        (
            "loader: measures how fast the batches of a data set load with different numbers of workers, item by item "
            "or a batch at once, and recommends a setting. --item-cost and --step-cost add work to each item, as "
            "decoding an image would, and to each step, as training would. They show where the bottleneck is.",
            "parallel: trains the network that the overrides describe in each way there is on this machine, and says "
            "which to use. The ways for one run: one thread, several threads, workers that load batches, and processes "
            "that share each batch. For many: one after another, side by side, and a sweep. Takes about a minute.",
        ),
        (
            ("ch12 bench loader", "Iris, with 0, 1, 2 and 4 workers"),
            ("ch12 bench loader batch_size=16 workers=0,2,4 --item-cost 2ms", "items that take work"),
            ("ch12 bench loader --step-cost 5ms --fetch both", "steps that take longer than loading"),
            ("ch12 bench parallel model.width=64 -o ways.png", "the ways to train such a network, and a chart"),
        ),
    ),
    "report": VerbPage(
        "report [OPTION]... RUN|SWEEP",
        (
            "Writes one HTML file about a run or a sweep: plots, tables, configuration, environment, and the commands "
            "that repeat it. The file loads nothing from elsewhere. The charts and the table of a sweep's jobs can be "
            "searched, filtered and sorted. Needs the extra `plots` (matplotlib).",
        ),
        (("ch12 report @1 -o report.html", "the newest run"), ("ch12 report my_sweep -o sweep.html", "a sweep")),
    ),
    "export": VerbPage(
        "export [OPTION]... RUN|SWEEP",
        (
            "Writes a saved run for use without ch12. The formats onnx and torch_export hold the network, with the "
            "scaling of its inputs included: it takes rows as they are in the data, and returns its output and, for "
            "classes, their probabilities. The file is loaded and compared before it is kept. onnx needs the extra "
            "`onnx`.",
            "The format script is a short program that uses PyTorch alone, with the data beside it. It trains the "
            "same run and ends with the same bits.",
            "The format optuna writes a sweep as a study of Optuna, into a journal file or a database (-o "
            "sqlite:///study.db), for optuna-dashboard and Optuna's own functions: a trial for each setting, with its "
            "mean over the seeds by epoch. It needs the extra `search`.",
            TRUST,
        ),
        (
            ("ch12 export @1", "the newest run as a program"),
            ("ch12 export @best --format onnx -o iris.onnx", "the best network, for onnxruntime"),
            ("ch12 export @1 --format torch_export", "for torch.export.load"),
            ("ch12 export my_sweep --format optuna -o study.log", "a sweep, for optuna-dashboard"),
        ),
    ),
    "board": VerbPage(
        "board [OPTION]... [FOLDER]",
        (
            "Serves the pages of `ch12 report` for all runs and sweeps below a folder (default: outputs), live while "
            "they train: curves grow, jobs appear, and a sweep says how long it will take. Finds, filters and compares "
            "runs. Prints the address to open, and ends with Ctrl-C.",
            "The board answers to 127.0.0.1 alone, and to who has the token in the address. It reads, and writes "
            "nothing; with --write, it changes tags. Needs the extra `board` (starlette and uvicorn).",
            "On another machine: ssh -L 8712:127.0.0.1:8712 HOST, and then open the address here.",
        ),
        (
            ("ch12 board", "all that is below outputs"),
            ("ch12 board outputs/2026-05-17 --port 9000", "one day, at a port of your choice"),
            ("ch12 board --write", "tags may be changed"),
        ),
    ),
    "ensemble": VerbPage(
        "ensemble [OPTION]... SWEEP",
        (
            "Chooses runs of a sweep, one at a time and some repeatedly, so that their average is best on the "
            "validation part: of their probabilities, or of their values. Prints its metrics beside those of the best "
            "single run; the test part is used only for that.",
            f"The average is saved as the directory of a run, which {TAKERS} take as one model. The runs must have the "
            "same data, parts, scaling and loss, and networks of ch12.",
            TRUST,
        ),
        (
            ("ch12 ensemble @1", "the newest sweep, of ten networks at most"),
            ("ch12 ensemble my_sweep --size 30 -o best_of_all", "of thirty, into another directory"),
            ("ch12 ensemble my_sweep --all", "all of them alike, without a validation part"),
        ),
    ),
    "watch": VerbPage(
        "watch RUN|SWEEP",
        (
            "Follows a run or a sweep that another process trains, and shows the result when it ends. For a run it "
            "shows each epoch; for a sweep its jobs, its epochs and the time left. It only reads: Ctrl-C stops "
            "watching, and the training goes on.",
        ),
        (("ch12 watch @1", "the newest run or sweep"),),
    ),
    "work": VerbPage(
        "work [OPTION]... SWEEP --stack K",
        (
            "Trains bundle K of a sweep that was submitted with hydra/launcher=slurm or hydra/launcher=executor. The "
            "jobs of the cluster run it; by hand it is useful to see why one of them fails. What it did is in "
            ".ch12/bundles/ in the sweep's directory.",
            TRUST,
        ),
        (("ch12 work my_sweep --stack 0", "the first bundle, in this terminal"),),
    ),
    "tag": VerbPage(
        "tag [OPTION]... RUN [WORD]...",
        ("Attaches words to a run or a sweep. Without a word, prints its tags.",),
        (
            ("ch12 tag @1 baseline good", "adds two tags to the newest run"),
            ("ch12 runs --filter tags~baseline", "finds the run by a tag"),
            ("ch12 tag @1 good --remove", "removes a tag"),
        ),
    ),
    "unpack": VerbPage(
        "unpack SWEEP|JOB",
        (
            "Writes the ordinary directory of each job of a sweep that was recorded with sweep.record=compact, or of "
            "one job: byte for byte what sweep.record=directories would have written. Every command works on the jobs "
            "of such a sweep without it. Directories that exist are left as they are, and count from then on; the "
            "record stays. If jobs are damaged in it, it writes all others and ends with exit code 2.",
        ),
        (
            ("ch12 unpack my_sweep", "all jobs of a sweep"),
            ("ch12 unpack my_sweep/17", "one of its jobs"),
        ),
    ),
    "rm": VerbPage(
        "rm [OPTION]... RUN...",
        (
            "Lists the selected runs and sweeps, asks, and deletes their directories. It refuses a directory that is "
            "no run, a run that is still training, and a job of a sweep. It follows no links.",
        ),
        (
            ("ch12 rm @1", "the newest run, after a question"),
            ("ch12 rm --status failed --older 30d", "failed runs that began over 30 days ago"),
            ("ch12 rm --status killed --yes", "without a question, for scripts"),
        ),
    ),
    "compare": VerbPage(
        "compare [OPTION]... RUN RUN...|SWEEP",
        (
            "Shows the settings, environment and results in which runs differ, side by side; * marks the best run. "
            "For a sweep, or for more than four runs of one metric on the same data, shows one row for each "
            "combination, best first, with the mean over the seeds and its 95 % confidence interval (Student's t). "
            "Nothing is computed again.",
        ),
        (
            ("ch12 compare @1 @2", "the two newest runs"),
            ("ch12 compare my_sweep", "the combinations of a sweep"),
            ("ch12 compare my_sweep --limit 50", "more of them"),
            ("ch12 compare my_sweep --format md", "a Markdown table"),
        ),
    ),
    "runs": VerbPage(
        "runs [OPTION]... [FOLDER|SWEEP]",
        (
            "Lists the runs and sweeps in a folder (default: outputs/), or the jobs of a sweep, newest first. The "
            "status of a run whose process was killed is `killed`; that of a damaged one is `damaged`.",
            "A filter compares results (test_accuracy, objective, epochs, seconds, status …) and configuration keys "
            "(optimizer.lr) with = != < <= > >= and ~ (contains), joined by and, or, not and parentheses. A comparison "
            "with what a run does not have never holds. An ensemble has the configuration in which all its networks "
            "agree: it has no optimizer if some were trained by adam and others by sgd.",
            "Every command that takes RUN accepts a path, a part of a path that only one run has, @1 for the newest "
            "run, @2 for the one before, @best for the best on the newest run's data, or SWEEP/17: ch12 eval @1.",
        ),
        (
            ("ch12 runs", "all runs in outputs/"),
            ('ch12 runs --filter "test_accuracy>0.95 and optimizer.lr<0.1"', "only these"),
            ("ch12 runs --sort objective --limit 10", "the ten lowest objectives"),
            ('ch12 runs @1 --filter "model.width=8"', "some jobs of the newest sweep"),
            ("ch12 runs @1 --format csv", "the jobs of the newest sweep, for a spreadsheet"),
        ),
    ),
    "explain": VerbPage(
        "explain [OPTION]... NAME [GROUP=CHOICE]... [KEY=VALUE]...",
        (
            "Explains a key, a group or a choice: its meaning, the values it allows, its default, and the file or "
            "override that sets it in the run that `ch12 train` would start with the same overrides.",
        ),
        (
            ("ch12 explain optimizer.lr", "a key"),
            ("ch12 explain optimizer", "a group, with its choices"),
            ("ch12 explain optimizer=sgd", "a choice, with its keys"),
            ("ch12 explain optimizer.lr experiment=book/iris", "what sets the key in that run"),
        ),
    ),
    "resume": VerbPage(
        "resume [OPTION]... RUN|SWEEP [KEY=VALUE]...",
        (
            "Continues a run or a sweep where it stopped, with the same result, bit for bit, as without the stop. A "
            "finished run stays as it is; a larger number of epochs trains it further. Of a sweep, only the missing "
            "jobs are trained.",
            "Changes that would make it a different run are refused. With --fork they make a new run, which records "
            "its parent.",
            TRUST,
        ),
        (
            (f"ch12 resume {EXAMPLE_RUN}", "continues after Ctrl-C or a kill"),
            (f"ch12 resume {EXAMPLE_RUN} epochs=200", "trains a finished run further"),
            (f"ch12 resume {EXAMPLE_RUN} --fork optimizer.lr=0.0001", "starts a new run from here"),
            (f"ch12 resume {EXAMPLE_SWEEP}", "trains the missing jobs of a sweep"),
        ),
    ),
    "eval": VerbPage(
        "eval [OPTION]... RUN",
        (
            "Computes loss and metrics of a saved run on a part of its data; they equal those recorded in training. "
            "For classes it also shows the confusion matrix, and precision, recall, F1 and number of rows of each "
            "class. A ratio with denominator zero is shown as -. On the training part, metrics.csv records the "
            "metrics while the network learns; eval computes those of the final network.",
            "The data are checked against those of the training. The metrics of a run from a stacked sweep agree up "
            "to rounding.",
            TRUST,
        ),
        (
            (f"ch12 eval {EXAMPLE_RUN}", "metrics on the test part"),
            (f"ch12 eval {EXAMPLE_RUN} --split all --checkpoint best", "all parts, after the best epoch"),
            (f"ch12 eval {EXAMPLE_RUN} --format json", "for a program to read"),
        ),
    ),
    "predict": VerbPage(
        "predict [OPTION]... RUN FILE.csv|IMAGE|FOLDER|-",
        (
            "Predicts the class with probabilities, or the value, of each row of a CSV file (UTF-8, commas, a "
            "header). Columns are matched by the names of the features, in any order; other columns are copied to "
            "the output. The inputs are scaled as in training. The training data are not needed.",
            "The output has a column `predicted` and, for classes, a column p_CLASS for each class, in full "
            "precision; the format table rounds. A mistake in the file is reported with its line and column, and "
            "there is no output.",
            "A run on images (dataset=image_folder, dataset=idx) takes an image or a folder of images, resized as in "
            "training, or an idx file of images. The first output column, `file`, names each image of a folder.",
            TRUST,
        ),
        (
            (f"ch12 predict {EXAMPLE_RUN} flowers.csv", "prints CSV"),
            (f"ch12 predict {EXAMPLE_RUN} flowers.csv -o answer.csv", "writes a file, all of it or none"),
            (f"cut -d, -f1-5 all.csv | ch12 predict {EXAMPLE_RUN} -", "reads standard input"),
            (f"ch12 predict {EXAMPLE_RUN} flowers.csv --format table", "a table to read"),
            (f"ch12 predict {EXAMPLE_RUN} holidays", "the images in a folder"),
        ),
    ),
    "repro": VerbPage(
        "repro [OPTION]... RUN",
        (
            "Trains a run again from its record, in memory, and compares the weights and the metrics of all epochs "
            "with the saved ones. Reports that they are the same bit for bit, or the first epoch that differs, by how "
            "much, and what differs in the environment. Also reports which files of the run were changed. Nothing is "
            "written.",
            "A run from a stacked sweep agrees up to rounding; the largest difference is shown. A run that was "
            "resumed is repeated without a stop.",
            TRUST,
        ),
        ((f"ch12 repro {EXAMPLE_RUN}", "trains the run again and compares"),),
        (("exit code 0", "the same result"), ("exit code 3", "a different result, or a file was changed")),
    ),
}
