"""What a small client has at its vendors: users, licences, devices, tickets. For the examples and who tries them."""

from datetime import UTC, datetime, timedelta

from examples.vendors.connectwise import ConnectWiseStandIn
from examples.vendors.halopsa import HaloStandIn
from examples.vendors.msgraph import ENTERPRISE, GraphStandIn

#: Name, department, whether the account is on, days since the password was changed, licences.
_PEOPLE = (
    ("grace.hopper", "Sales", True, 85, [ENTERPRISE]),
    ("edsger.dijkstra", "Research", True, 10, [ENTERPRISE]),
    ("barbara.liskov", "Sales", True, 200, [ENTERPRISE]),
    ("alan.turing", "Research", False, 30, [ENTERPRISE]),
)
_DEVICES = (("LAPTOP-01", 3), ("LAPTOP-02", 120), ("KIOSK-07", 400))


def fill(graph: GraphStandIn, halo: HaloStandIn, connectwise: ConnectWiseStandIn) -> None:
    """Put the client's things where they belong. Times count from now."""
    now = datetime.now(UTC)
    for name, department, on, days, licences in _PEOPLE:
        graph.users[name] = {
            "id": name,
            "userPrincipalName": f"{name}@acme.example",
            "displayName": name.replace(".", " ").title(),
            "department": department,
            "accountEnabled": on,
            "lastPasswordChangeDateTime": _ago(now, days),
            "usageLocation": "AT",
            "licenses": list(licences),
        }
    for name, days in _DEVICES:
        graph.devices.append({"id": name, "displayName": name, "approximateLastSignInDateTime": _ago(now, days)})
    group = graph.add_group("Sales-Users")
    graph.members[group] = ["grace.hopper", "edsger.dijkstra"]
    for client in ("Acme", "Initech"):
        halo.add("client", name=client)
    halo.add("tickets", summary="Outlook asks for my password", client_id=12, user_email="grace.hopper@acme.example")
    connectwise.add("company/companies", identifier="Acme", name="Acme")


def _ago(now: datetime, days: int) -> str:
    return (now - timedelta(days=days)).isoformat(timespec="seconds").replace("+00:00", "Z")
