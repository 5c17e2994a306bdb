"""A plain program on a table: table_loop.py READER FILE WHAT MODEL.

READER: pandas or polars; WHAT: read, train or predict.

train: a network of 16 hidden units for one epoch, rows split and scaled as ch12 does, weights written to MODEL.
predict: the class of each row with those weights, beside the row's columns, in predictions.csv.
"""

import sys

import numpy as np

reader, file, what, *words = sys.argv[1:]
BATCH = 1024


def read():
    if reader == "pandas":
        import pandas

        frame = pandas.read_csv(file)
        return frame, frame.to_numpy(np.float64)
    import polars

    frame = polars.read_parquet(file) if file.endswith(".parquet") else polars.read_csv(file)
    return frame, frame.cast(polars.Float64).to_numpy()


def main():
    frame, values = read()
    if what == "read":
        return
    import torch
    from torch import nn

    torch.manual_seed(1)
    x, y = values[:, :-1], values[:, -1].astype(np.int64)
    model = nn.Sequential(nn.Linear(x.shape[1], 16), nn.ReLU(), nn.Linear(16, 2))
    if what == "predict":
        saved = torch.load(words[0])
        model.load_state_dict(saved["model"])
        with torch.no_grad():
            scores = model(torch.from_numpy((x - saved["mean"]) / saved["deviation"]).float())
        answers, shares = scores.argmax(1).numpy(), scores.softmax(1).numpy()
        further = {"prediction": answers, "p0": shares[:, 0], "p1": shares[:, 1]}
        if reader == "pandas":
            frame.assign(**further).to_csv("predictions.csv", index=False)
        else:
            import polars

            frame.with_columns(**{n: polars.Series(v) for n, v in further.items()}).write_csv("predictions.csv")
        return
    order = np.random.RandomState(1).permutation(len(x))
    test, valid, train = np.split(order, [len(x) // 5, len(x) // 5 * 2])
    mean, deviation = x[train].mean(0), x[train].std(0)
    parts = [
        (torch.from_numpy((x[p] - mean) / deviation).float(), torch.from_numpy(y[p])) for p in (train, valid, test)
    ]
    optimizer, loss_of = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    rows, targets = parts[0]
    shuffled = torch.randperm(len(rows))
    for start in range(0, len(rows), BATCH):
        chosen = shuffled[start : start + BATCH]
        loss = loss_of(model(rows[chosen]), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print([float(loss_of(model(rows), targets)) for rows, targets in parts])
    torch.save({"model": model.state_dict(), "mean": mean.tolist(), "deviation": deviation.tolist()}, words[0])


main()
