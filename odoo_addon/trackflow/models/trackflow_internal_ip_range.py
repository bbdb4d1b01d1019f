from odoo import api, fields, models
from odoo.exceptions import ValidationError

from trackflow_core.errors import ConfigError
from trackflow_core.tracking import networks


class TrackflowInternalIpRange(models.Model):
    """A network whose people are no visitors: an office, an agency, a monitoring service."""

    _name = "trackflow.internal.ip.range"
    _description = "TrackFlow Own Network"
    _order = "company_id, ip_range"
    _rec_name = "ip_range"

    ip_range = fields.Char(
        "Network",
        required=True,
        help="An address, or a network such as 192.0.2.0/24 or 2001:db8::/32.",
    )
    description = fields.Char()
    company_id = fields.Many2one(
        "res.company",
        required=True,
        index=True,
        ondelete="cascade",
        default=lambda self: self.env.company,
    )

    _range_uniq = models.UniqueIndex(
        "(company_id, ip_range)", "This network is in the company's list already."
    )

    @api.constrains("ip_range")
    def _check_ip_range(self):
        for own in self:
            try:
                network = networks.parse(own.ip_range)
            except ConfigError:
                raise ValidationError(
                    self.env._("“%s” is no network: write it as in 10.1.0.0/16.", own.ip_range)
                ) from None
            if not network.prefixlen:
                raise ValidationError(
                    self.env._(
                        "“%s” holds every address, so that nobody would count: name your own "
                        "networks only.",
                        own.ip_range,
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        ranges = super().create(vals_list)
        self.env.registry.clear_cache()
        return ranges

    def write(self, vals):
        result = super().write(vals)
        self.env.registry.clear_cache()
        return result

    def unlink(self):
        result = super().unlink()
        self.env.registry.clear_cache()
        return result
