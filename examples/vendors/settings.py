"""What an organisation has to configure so that its integrations talk to the stand-ins."""

from typing import Any

from examples.vendors.backup import BackupStandIn
from examples.vendors.connectwise import ConnectWiseStandIn
from examples.vendors.halopsa import HaloStandIn
from examples.vendors.msgraph import GraphStandIn

Vendor = GraphStandIn | HaloStandIn | ConnectWiseStandIn | BackupStandIn


def config(*vendors: Vendor) -> dict[str, Any]:
    """Configuration by key."""
    found: dict[str, Any] = {}
    for vendor in vendors:
        match vendor:
            case GraphStandIn():
                found |= {"msgraph_api_url": vendor.url, "msgraph_login_url": vendor.url}
                found |= {"msgraph_tenant_id": vendor.tenant, "msgraph_client_id": vendor.client_id}
            case HaloStandIn():
                found |= {"halo_api_url": vendor.url, "halo_client_id": vendor.client_id, "halo_customer_id": 12}
            case ConnectWiseStandIn():
                found |= {"cw_api_url": vendor.url, "cw_company_id": vendor.company, "cw_customer_id": 250}
                found |= {"cw_public_key": vendor.public_key, "cw_client_id": vendor.client_id}
            case BackupStandIn():
                found["backup_api_url"] = vendor.url
    return found


def secrets(*vendors: Vendor) -> dict[str, str]:
    """Secrets by name."""
    found: dict[str, str] = {}
    for vendor in vendors:
        match vendor:
            case GraphStandIn():
                found["msgraph_client_secret"] = vendor.client_secret
            case HaloStandIn():
                found["halo_client_secret"] = vendor.client_secret
            case ConnectWiseStandIn():
                found["cw_private_key"] = vendor.private_key
            case BackupStandIn():
                found["backup_api_key"] = vendor.key
    return found
