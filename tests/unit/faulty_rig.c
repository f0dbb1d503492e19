#include "faulty_rig.h"

actor_addr faulty_backend(const char *rules, const char *settings)
{
    stack_do("node-add driver=mock name=m size=1M");
    stack_do("node-add driver=fault name=f child=m rules='%s'", rules);
    stack_do("backend-add name=b node=f %s", settings);
    return stack_find("b");
}
