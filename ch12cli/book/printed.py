"""The output printed in the chapter, item by item, to compare computed output with.

Source: Raschka, Liu, Mirjalili, "Machine Learning with PyTorch and Scikit-Learn", Chapter 12.
"""

from typing import NamedTuple


class Printed(NamedTuple):
    """An item of the chapter.

    text: the output in the book. kind: "digits" for exact output, or "uniform" for unseeded numbers, of which only
    shape and range are known. plain: whether the item can run on another device or with another dtype.
    """

    section: str
    title: str
    text: str
    kind: str = "digits"
    plain: bool = True


SECTIONS = {
    "12.1": "Tensors",
    "12.2": "Input pipelines",
    "12.3": "Building and training a network",
    "12.4": "Activations",
}
FROM_SCRATCH = (
    "45.0782 26.4366 1.5918 14.1307 11.6038 6.3084 0.6349 3.1374 1.9999 0.3133 0.7653 1.0039 0.0235 0.5176 0.0759 1.8789 "
    "0.0008 0.0866 0.0646 0.0011"
)
WITH_NN = (
    "24.6684 29.1377 20.9207 0.1257 12.4922 1.7845 7.6425 2.5606 0.0157 0.7548 0.8412 0.4923 0.0823 0.0794 0.0891 0.0973 "
    "0.1043 0.1103 0.0009 0.0764"
)


def losses(values: str, weight: str, bias: str) -> str:
    """Returns the output of a regression: the loss of every tenth epoch, and the final parameters."""
    lines = [f"Epoch {10 * number} Loss {value}" for number, value in enumerate(values.split())]
    return "\n".join([*lines, f"Final Parameters: {weight} {bias}"])


ITEMS = {
    1: Printed("12.1", "tensors from a list and an array", "tensor([1, 2, 3])\ntensor([4, 5, 6], dtype=torch.int32)"),
    2: Printed("12.1", "is it a tensor?", "(False, True)"),
    3: Printed("12.1", "ones", "torch.Size([2, 3])\ntensor([[1., 1., 1.],\n        [1., 1., 1.]])"),
    4: Printed("12.1", "random numbers", "a 2 x 3 tensor of numbers in [0, 1)", kind="uniform"),
    5: Printed("12.1", "another type", "torch.int64"),
    6: Printed("12.1", "transpose", "torch.Size([3, 5]) --> torch.Size([5, 3])"),
    7: Printed("12.1", "reshape", "torch.Size([5, 6])"),
    8: Printed("12.1", "squeeze", "torch.Size([1, 2, 1, 4, 1]) --> torch.Size([1, 2, 4, 1])"),
    9: Printed(
        "12.1",
        "element-wise product",
        "tensor([[ 0.4426, -0.3114],\n        [ 0.0660, -0.5970],\n        [ 1.1249,  0.0150],\n"
        "        [ 0.1569,  0.7107],\n        [-0.0451, -0.0352]])",
    ),
    10: Printed("12.1", "mean of each column", "tensor([-0.1373,  0.2028])"),
    11: Printed(
        "12.1",
        "matrix product, rows by rows",
        "tensor([[ 0.1312,  0.3860, -0.6267, -1.0096, -0.2943],\n        [ 0.1647, -0.5310,  0.2434,  0.8035,  0.1980],\n"
        "        [-0.3855, -0.4422,  1.1399,  1.5558,  0.4781],\n        [ 0.1822, -0.5771,  0.2585,  0.8676,  0.2132],\n"
        "        [ 0.0330,  0.1084, -0.1692, -0.2771, -0.0804]])",
    ),
    12: Printed(
        "12.1", "matrix product, columns by columns", "tensor([[ 1.7453,  0.3392],\n        [-1.6038, -0.2180]])"
    ),
    13: Printed(
        "12.1",
        "length of each row",
        "tensor([0.6785, 0.5078, 1.1162, 0.5488, 0.1853])\n[0.6785 0.5078 1.1162 0.5488 0.1853]",
    ),
    14: Printed(
        "12.1",
        "chunk",
        "tensor([0.7576, 0.2793, 0.4031, 0.7347, 0.0293, 0.7999])\ntensor([0.7576, 0.2793])\ntensor([0.4031, 0.7347])\n"
        "tensor([0.0293, 0.7999])",
    ),
    15: Printed("12.1", "split", "tensor([0.7576, 0.2793, 0.4031])\ntensor([0.7347, 0.0293])"),
    16: Printed("12.1", "cat", "tensor([1., 1., 1., 0., 0.])"),
    17: Printed("12.1", "stack", "tensor([[1., 0.],\n        [1., 0.],\n        [1., 0.]])"),
    18: Printed(
        "12.2",
        "a loader",
        "tensor([0.])\ntensor([1.])\ntensor([2.])\ntensor([3.])\ntensor([4.])\ntensor([5.])\n"
        "tensor([0., 1., 2.])\ntensor([3., 4., 5.])",
        plain=False,
    ),
    19: Printed(
        "12.2",
        "two tensors in one data set",
        "x: tensor([0.7576, 0.2793, 0.4031])  y: tensor(0)\nx: tensor([0.7347, 0.0293, 0.7999])  y: tensor(1)\n"
        "x: tensor([0.3971, 0.7544, 0.5695])  y: tensor(2)\nx: tensor([0.4388, 0.6387, 0.5247])  y: tensor(3)",
        plain=False,
    ),
    20: Printed(
        "12.2",
        "shuffled batches",
        "one pass: [2, 0] [1, 3]\nepoch 1: [0, 2] [1, 3]\nepoch 2: [3, 2] [0, 1]",
        plain=False,
    ),
    21: Printed(
        "12.2", "images in a folder", "labels: [0, 0, 0, 1, 1, 1]\n" + "\n".join(["[3, 80, 120]"] * 6), plain=False
    ),
    22: Printed(
        "12.3",
        "linear regression from scratch",
        losses(FROM_SCRATCH, "2.6696107387542725", "4.879678249359131"),
        plain=False,
    ),
    23: Printed(
        "12.3", "the same with nn and optim", losses(WITH_NN, "2.6496422290802", "4.87706995010376"), plain=False
    ),
    24: Printed("12.3", "Iris, saved and loaded", "\n".join(["Test Acc.: 0.9800"] * 3), plain=False),
    25: Printed("12.4", "the logistic function", "P(y=1|x) = 0.888"),
    26: Printed(
        "12.4",
        "a layer of three units",
        "Net Input: [1.78 0.76 1.65]\nOutput Units: [0.85569687 0.68135373 0.83889105]\nPredicted class label: 0",
    ),
    27: Printed(
        "12.4",
        "softmax",
        "Probabilities: [0.44668973 0.16107406 0.39223621]\n1.0\n[0.44668973 0.16107406 0.39223621]",
    ),
    28: Printed(
        "12.4",
        "tanh, logistic, ReLU",
        "[-0.9999092   0.99990829]\n[-0.9999092   0.99990829]\n[-0.9999092   0.99990829]\n[0.00669285 0.99327383]\n"
        "[0.00669285 0.99327383]\n0 4.9950",
    ),
}
