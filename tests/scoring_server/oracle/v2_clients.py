"""Ask a server with the clients of Triton and KServe: ``python v2_clients.py CLIENT URL SERVER``.

CLIENT is triton or kserve, SERVER ours or mlserver: that one has no binary tensors over REST, and
answers health checks with a status alone, which KServe's client cannot read.

The model has the columns `number` (double) and `text` (string) and answers with `double`, twice the
number, and `upper`, the text in capitals. Its name is `shouter`.
"""

import asyncio
import sys
from urllib.parse import urlsplit

import numpy as np

NUMBERS = np.array([[1.5], [-2.0], [0.25]])
TEXTS = np.array([["a"], ["ü"], [""]], dtype=np.object_)


def with_triton(url, is_ours):
    import tritonclient.http as triton

    client = triton.InferenceServerClient(urlsplit(url).netloc)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("shouter")
    assert not client.is_model_ready("other")
    extensions = client.get_server_metadata()["extensions"]
    assert ("binary_tensor_data" in extensions) == is_ours
    metadata = client.get_model_metadata("shouter")
    assert [each["datatype"] for each in metadata["inputs"]] == ["FP64", "BYTES"]
    for sent in (True, False) if is_ours else (False,):
        for wanted in (None, True, False) if is_ours else (None, False):
            inputs = [
                triton.InferInput("number", [3, 1], "FP64"),
                triton.InferInput("text", [3, 1], "BYTES"),
            ]
            inputs[0].set_data_from_numpy(NUMBERS, binary_data=sent)
            inputs[1].set_data_from_numpy(TEXTS, binary_data=sent)
            outputs = (
                wanted
                if wanted is None
                else [
                    triton.InferRequestedOutput(name, binary_data=wanted)
                    for name in ("upper", "double")
                ]
            )
            result = client.infer("shouter", inputs, outputs=outputs, request_id="7")
            assert result.get_response()["id"] == "7"
            check(result.as_numpy("double"), result.as_numpy("upper"))
    inputs = [triton.InferInput("number", [1, 1], "FP64")]
    inputs[0].set_data_from_numpy(NUMBERS[:1], binary_data=is_ours)
    refusal = ""
    try:
        client.infer("shouter", inputs)
    except triton.InferenceServerException as error:
        refusal = str(error)
    assert "text" in refusal, refusal


def with_kserve(url, is_ours):
    from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig

    async def ask():
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        if is_ours:
            assert await client.is_server_live(url)
            assert await client.is_server_ready(url)
            assert await client.is_model_ready(url, "shouter")
        for is_binary in (True, False) if is_ours else (False,):
            number = InferInput("number", [3, 1], "FP64")
            text = InferInput("text", [3, 1], "BYTES")
            number.set_data_from_numpy(NUMBERS, binary_data=is_binary)
            text.set_data_from_numpy(TEXTS, binary_data=is_binary)
            outputs = [
                InferOutput(name, [3, 1], datatype, parameters={"binary_data": is_binary})
                for name, datatype in (("double", "FP64"), ("upper", "BYTES"))
            ]
            request = InferRequest("shouter", [number, text], request_outputs=outputs)
            answer = await client.infer(url, request, model_name="shouter")
            arrays = {each.name: each.as_numpy() for each in answer.outputs}
            check(arrays["double"], arrays["upper"])
        await client.close()

    asyncio.run(ask())


def check(double, upper):
    assert double.dtype == np.float64
    assert (double == 2 * NUMBERS).all(), double
    texts = [each.decode() if isinstance(each, bytes) else each for each in upper.ravel()]
    assert texts == ["A", "Ü", ""], upper


if __name__ == "__main__":
    ask = {"triton": with_triton, "kserve": with_kserve}[sys.argv[1]]
    ask(sys.argv[2], is_ours=sys.argv[3] == "ours")
