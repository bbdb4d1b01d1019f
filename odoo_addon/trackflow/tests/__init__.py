from . import (
    test_access,
    test_click_job,
    test_crm_lead,
    test_link_tracker,
    test_marketing_data,
    test_parallel,
    test_privacy,
    test_redirect,
    test_store,
    test_tours,
    test_webhook,
)
