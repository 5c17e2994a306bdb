"""The plain loop as a Hydra program: `hydra_plain.py -m seed=range(8)`, one job after another, or through joblib.

ROWS names a file of rows; nothing=true trains nothing, to see what Hydra itself costs.
"""

import json
import os
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="hydra_conf", config_name="config")
def main(config: DictConfig) -> float:
    if config.nothing:
        return 0.0
    import numpy as np
    import torch
    from plain import Plain
    from torch import nn

    rows = np.load(os.environ["ROWS"])
    plain = Plain(
        torch.from_numpy(rows["x"]).float(),
        torch.from_numpy(rows["y"]),
        make=lambda: nn.Sequential(nn.Linear(4, config.model.width), nn.ReLU(), nn.Linear(config.model.width, 3)),
        seed=config.seed,
        batch=config.batch_size,
        lr=config.optimizer.lr,
    )
    for _ in range(config.epochs):
        plain.epoch()
    directory = Path(HydraConfig.get().runtime.output_dir)
    torch.save(plain.model.state_dict(), directory / "model.pt")
    (directory / "result.json").write_text(json.dumps({"loss": plain.loss_hist[-1]}))
    return plain.loss_hist[-1]


if __name__ == "__main__":
    main()
