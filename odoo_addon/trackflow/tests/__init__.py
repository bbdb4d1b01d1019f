from . import test_click_job
from . import test_crm_lead
from . import test_marketing_data
from . import test_redirect
from . import test_store
from . import test_tours
from . import test_webhook
