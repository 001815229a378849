/* How a program is started. */
#ifndef LAUNCH_H
#define LAUNCH_H

/* In a child: nothing of the agent's is left, and it ends with the agent. */
void leave_agent(void);

#endif
