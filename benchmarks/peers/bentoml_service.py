"""The model behind BentoML: copied beside `model.txt`, which names the model's folder."""

import pickle
from pathlib import Path
from typing import Any

import bentoml
import pandas as pd


@bentoml.service(workers=1)
class Iris:
    """Takes `dataframe_split`, answers `predictions`, as MLflow's protocol has them."""

    def __init__(self) -> None:
        folder = Path(__file__).with_name("model.txt").read_text()
        with Path(folder, "model.pkl").open("rb") as file:
            self.model = pickle.load(file)

    @bentoml.api(route="/invocations")
    def invocations(self, dataframe_split: dict[str, Any]) -> dict[str, Any]:
        frame = pd.DataFrame(dataframe_split["data"], columns=dataframe_split["columns"])
        return {"predictions": self.model.predict(frame).tolist()}
