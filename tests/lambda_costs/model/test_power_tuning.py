from lambda_costs.model.power_tuning import tuning_input
from tests.lambda_costs.cases import function


def test_each_size_is_measured_once_in_ascending_order() -> None:
    # The names that AWS Lambda Power Tuning documents ("State machine input").
    assert tuning_input(function().arn, (1024, 256, 640, 256)) == {
        "lambdaARN": "arn:aws:lambda:us-east-1:000000000000:function:orders",
        "powerValues": [256, 640, 1024],
        "num": 50,
        "payload": {},
        "parallelInvocation": False,
        "strategy": "cost",
    }
