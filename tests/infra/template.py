"""A CloudFormation template as tests like to read it."""

import re
from collections.abc import Iterator
from typing import Any


class Template:
    """A synthesised template; logical ids stand without the hash that CDK appends to them."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.resources: dict[str, Any] = {_plain(name): value for name, value in body["Resources"].items()}

    def of_type(self, kind: str) -> dict[str, Any]:
        """Return the resources of the type ``kind`` by id."""
        return {name: resource for name, resource in self.resources.items() if resource["Type"] == kind}

    def only(self, kind: str) -> dict[str, Any]:
        """Return the properties of the one resource of the type ``kind``."""
        (resource,) = self.of_type(kind).values()
        return dict(resource["Properties"])

    def named(self, name: str) -> dict[str, Any]:
        """Return the properties of the resource whose id is ``name``."""
        return dict(self.resources[name]["Properties"])

    def text(self, value: Any) -> str:
        """Return a string property with its references written ``<Resource>`` and ``<Resource.Attribute>``."""
        if isinstance(value, str):
            return value
        ((function, argument),) = value.items()
        match function:
            case "Ref":
                return f"<{_plain(argument)}>"
            case "Fn::GetAtt":
                return f"<{_plain(argument[0])}.{argument[1]}>"
            case "Fn::Join":
                return str(argument[0]).join(self.text(part) for part in argument[1])
            case "Fn::Select":
                return f"<part {argument[0]} of {self.text(argument[1])}>"
            case "Fn::Split":
                return f"{self.text(argument[1])} at {argument[0]}"
            case "Fn::If":
                return f"<{self.text(argument[1])} or {self.text(argument[2])}>"
        raise AssertionError(f"a test does not know how to read {function}")

    def with_defaults(self) -> dict[str, Any]:
        """Return the resources that exist with every parameter at its default, with each ``Fn::If`` decided."""
        defaults = {name: parameter.get("Default") for name, parameter in self.body["Parameters"].items()}

        def holds(condition: Any) -> bool:
            ((function, argument),) = condition.items()
            match function:
                case "Fn::Equals":
                    one, other = (defaults[item["Ref"]] if isinstance(item, dict) else item for item in argument)
                    return bool(one == other)
                case "Fn::Not":
                    return not holds(argument[0])
                case "Condition":
                    return met[argument]
            raise AssertionError(f"a test does not know how to decide {function}")

        def decided(value: Any) -> Any:
            if isinstance(value, dict):
                if (choice := value.get("Fn::If")) is not None:
                    return decided(choice[1] if met[choice[0]] else choice[2])
                inner = {name: decided(item) for name, item in value.items()}
                return {name: item for name, item in inner.items() if item != {"Ref": "AWS::NoValue"}}
            return [decided(item) for item in value] if isinstance(value, list) else value

        met: dict[str, bool] = {}
        for name, condition in self.body["Conditions"].items():
            met[name] = holds(condition)
        there = {name: item for name, item in self.resources.items() if met.get(item.get("Condition"), True)}
        return {name: decided(item) for name, item in there.items()}

    def texts(self, value: Any) -> Any:
        """Return a condition of a policy with every string in it as ``text`` writes it."""
        if isinstance(value, dict) and not any(name == "Ref" or name.startswith("Fn::") for name in value):
            return {name: self.texts(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.texts(inner) for inner in value]
        return None if value is None else self.text(value)

    def statements(self, policy: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a policy document's statements with actions and resources as lists of text."""
        return [
            {
                **statement,
                "Action": _listed(statement["Action"]),
                "Resource": [self.text(resource) for resource in _listed(statement.get("Resource", []))],
            }
            for statement in policy["Statement"]
        ]


def _plain(logical_id: str) -> str:
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def references(value: Any, target: str, *, chosen: bool = False) -> Iterator[bool]:
    """Yield for each reference to the logical id ``target`` whether it stands in the first branch of an Fn::If."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if (key == "Ref" and inner == target) or (key == "Fn::GetAtt" and inner[0] == target):
                yield chosen
            elif key == "Fn::If":
                yield from references(inner[1], target, chosen=True)
                yield from references(inner[2], target, chosen=chosen)
            else:
                yield from references(inner, target, chosen=chosen)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner, target, chosen=chosen)
