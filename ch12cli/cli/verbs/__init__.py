"""The verbs of `ch12`: one module each, named as the verb, with `parser()` and `run(argv)`.

A module is imported when its verb is used, so no verb pays for the imports of another.
"""

VERBS = {
    "train": "train a network, or with -m many networks",
    "tune": "search the best network for a data set within a time, and compare it with baselines",
    "resume": "continue a run or a sweep where it stopped",
    "eval": "compute the metrics of a saved run on parts of its data",
    "predict": "apply a saved run's network to the rows of a CSV file",
    "export": "save a run's network as ONNX or torch.export, or the run as a PyTorch program",
    "ensemble": "combine runs of a sweep into one model, selected on the validation part",
    "repro": "train a saved run again and report whether it is the same",
    "runs": "list runs and sweeps, newest first, with status and results",
    "show": "show one run or sweep in full, with its learning curve",
    "compare": "show what differs between runs, or within a sweep",
    "plot": "plot runs and sweeps, in the terminal or as PDF, PNG and SVG",
    "report": "write one HTML page about a run or a sweep",
    "board": "serve the pages of all runs below a folder, live, on this machine",
    "work": "train one bundle of a submitted sweep: what the jobs of a cluster run",
    "watch": "follow a run or a sweep while it trains",
    "tag": "attach words to a run, to find it by",
    "unpack": "write the directories of the jobs in a sweep's compact record",
    "rm": "delete runs and sweeps",
    "book": "run the items of the book's chapter and compare them with the book",
    "bench": "measure how fast batches load, or ways to train in parallel, and recommend one",
    "explain": "explain a configuration key: meaning, allowed values, where its value comes from",
    "completion": "print the tab completion for bash, zsh or fish",
}
