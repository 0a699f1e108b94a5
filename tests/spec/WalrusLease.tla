---------------------------- MODULE WalrusLease ----------------------------
(* One segment's leader, the controllers that follow each other, and time: how
   long a leader serves that was deposed. The segment has three members of
   which two commit.

   Safety never rests on this (WalrusChain has no clock): a lease lets a leader
   answer reads by itself, and what it bounds is how old such an answer is.

   Names, and where the code has them (crates/replication, liveness):
     mine, theirs  the leader's clock and the controllers'. They drift: either
                   may stand still for a tick while the other goes on, but they
                   are never more than Margin apart
     term          the newest controller's Raft term; there are two in turn
     since         when it took over, by theirs                Watch::take_over
     heard[t]      when controller t heard the leader last      Watch::heartbeat
     answer        the answer to a heartbeat that is on its way: <<term, sent>>.
                   The heartbeat itself came at once or never
     sent, known   the newest answered heartbeat; the greatest term that was
                   heard                           NodeLease::heartbeat_answered
     probe, taken  the answer to an append that is on its way; when the newest
                   one that was answered was sent  PartitionLease::append_answered
     condemned     fences that were proposed: terms whose controller did
     fenced        metadata has the fence
     refusing      members that have fenced the leader
     proposed      when the leader proposed its own roll, by mine
                                                       PartitionLease::proposed
     sealedAt      when two members had, or the roll was applied, by mine: from
                   then on another may lead
     told          somebody told the leader: it stops for good
     surprised     a controller took a leader for silent that could serve
*)
EXTENDS Integers, FiniteSets

CONSTANTS
  Ttl, Margin, TimeMax,
  Gap,             \* so long voters have missed a controller before the next one
                   \* begins
  Source,          \* what extends the lease: "beats" or "members". They add up
                   \* and do not meet, so each is looked at by itself
  Off

VARIABLES mine, theirs, term, since, heard, answer, sent, known,
          probe, taken, condemned, fenced, refusing, proposed, sealedAt, told,
          surprised

clocks == <<mine, theirs>>
lease  == <<sent, known, taken, told>>
links  == <<answer, probe>>
rulers == <<term, since, heard, condemned>>
ends   == <<fenced, refusing, proposed, sealedAt, surprised>>
vars   == <<clocks, lease, links, rulers, ends>>

None == -1
Others == {"a", "b"}   \* the two members beside the leader
IsOff(p) == p \in Off
Greatest(a, b) == IF a > b THEN a ELSE b

Init ==
  /\ mine = 0 /\ theirs = 0 /\ term = 1 /\ since = 0 /\ heard = [t \in {1, 2} |-> 0]
  /\ answer = <<0, None>> /\ sent = None /\ known = 0
  /\ probe = None /\ taken = None /\ condemned = {} /\ fenced = FALSE
  /\ refusing = {} /\ proposed = None /\ sealedAt = None
  /\ told = FALSE /\ surprised = FALSE

\* NodeLease::reads_until: a margin before the end. Of the members' answers one
\* is enough: the leader itself is the second.
Granted == IF IsOff("StopEarly") THEN Ttl + Margin ELSE Ttl - Margin
ByBeats == ~told /\ sent # None /\ mine < sent + Granted
ByMembers == ~told /\ taken # None /\ mine < taken + Granted
\* What was asked for after its own proposal extends no reads.
Rolled == proposed # None /\ mine >= proposed + Granted /\ ~IsOff("StopProposed")
Serves == (ByBeats \/ ByMembers) /\ ~Rolled

Apart(a, b) == IF a > b THEN a - b ELSE b - a
Tick ==
  /\ \E a, b \in {0, 1} :
       /\ a + b > 0 /\ mine + a <= TimeMax /\ theirs + b <= TimeMax
       /\ Apart(mine + a, theirs + b) <= Margin
       /\ mine' = mine + a /\ theirs' = theirs + b
       \* What has run out is forgotten.
       /\ sent'  = IF sent + Granted <= mine + a THEN None ELSE sent
       /\ taken' = IF taken + Granted <= mine + a THEN None ELSE taken
  /\ UNCHANGED <<known, told, links, rulers, ends>>

----------------------------------------------------------------------------
\* Controller t hears a heartbeat. One that was deposed notices before it
\* answers: it would extend leases that its successor takes away. Nor does it
\* fence any more, for nobody talks to it. And one that begins applies first all
\* that was committed: it would extend leases of lives that are fenced.
Beat(t) ==
  /\ Source = "beats" /\ ~told /\ t <= term
  /\ t = term \/ IsOff("DeposedIsQuiet")
  /\ heard' = [heard EXCEPT ![t] = theirs]
  /\ IF t \in condemned \/ (fenced /\ t = term /\ (t = 1 \/ ~IsOff("NewHasApplied")))
     THEN /\ told' = TRUE /\ answer' = answer
     ELSE /\ told' = told /\ answer' = <<t, mine>>
  /\ UNCHANGED <<clocks, sent, known, taken, probe, term, since, condemned, ends>>

HearAnswer ==
  /\ answer[2] # None /\ answer' = <<0, None>>
  /\ IF answer[1] >= known
     THEN /\ known' = answer[1]
          /\ sent' = Greatest(sent, IF IsOff("CountFromSent") THEN mine ELSE answer[2])
     ELSE UNCHANGED <<known, sent>>
  /\ UNCHANGED <<clocks, taken, told, probe, rulers, ends>>

\* Appends go to members too, and one that has not fenced the leader answers.
Probe(m) ==
  /\ Source = "members" /\ ~told
  /\ IF m \in refusing /\ ~IsOff("FencedRefuse")
     THEN told' = TRUE /\ probe' = probe
     ELSE told' = told /\ probe' = mine
  /\ UNCHANGED <<clocks, sent, known, taken, answer, rulers, ends>>
HearMember ==
  /\ probe # None /\ probe' = None
  /\ taken' = Greatest(taken, IF IsOff("CountFromSent") THEN mine ELSE probe)
  /\ UNCHANGED <<clocks, sent, known, told, answer, rulers, ends>>

----------------------------------------------------------------------------
\* The next controller begins. It fences nobody for silence before a whole TTL
\* has passed, for with the last one's death heartbeats stopped for all. Of that
\* time a part was over before: voters had missed the last one for so long that
\* it extended no lease any more (Watch::after).
TakeOver ==
  /\ term = 1 /\ term' = 2 /\ since' = theirs
  /\ theirs - heard[1] >= Gap \/ IsOff("VotersWait")
  /\ heard' = [heard EXCEPT ![1] = 0]
  /\ UNCHANGED <<clocks, lease, links, condemned, ends>>

\* Watch::tick. What is proposed may be applied late, under the next controller.
Condemn(t) ==
  /\ t = term /\ t \notin condemned
  /\ LET from == IF t = 2 /\ ~IsOff("NewWaits") THEN Greatest(heard[t], since - Gap) ELSE heard[t]
         wait == IF IsOff("FenceLate") THEN Ttl - Margin ELSE Ttl + Margin
     IN theirs - from > wait
  /\ condemned' = condemned \cup {t}
  /\ surprised' = (surprised \/ ByBeats)
  /\ UNCHANGED <<clocks, lease, links, term, since, heard, fenced, refusing, proposed, sealedAt>>

\* Its proposal is applied, perhaps late. Or the life is fenced for another
\* reason, at any time: an operator's, a flush that hangs.
ApplyFence ==
  /\ ~fenced /\ fenced' = TRUE
  /\ UNCHANGED <<clocks, lease, links, rulers, refusing, proposed, sealedAt, surprised>>

FenceMember(m) ==
  /\ fenced /\ m \notin refusing /\ refusing' = refusing \cup {m}
  /\ UNCHANGED <<clocks, lease, links, rulers, fenced, proposed, sealedAt, surprised>>
FenceLeader ==
  /\ fenced /\ ~told /\ told' = TRUE
  /\ UNCHANGED <<clocks, sent, known, taken, links, rulers, ends>>
Seal ==
  /\ sealedAt = None /\ Cardinality(refusing) + (IF told THEN 1 ELSE 0) >= 2
  /\ sealedAt' = mine
  /\ UNCHANGED <<clocks, lease, links, rulers, fenced, refusing, proposed, surprised>>

\* The leader rolls by itself. Controllers and members still know it for one that
\* may write, and its own metadata may be behind for as long as it likes.
Propose ==
  /\ ~told /\ proposed = None /\ sealedAt = None /\ proposed' = mine
  /\ UNCHANGED <<clocks, lease, links, rulers, fenced, refusing, sealedAt, surprised>>
ApplyRoll ==
  /\ proposed # None /\ sealedAt = None /\ sealedAt' = mine
  /\ UNCHANGED <<clocks, lease, links, rulers, fenced, refusing, proposed, surprised>>

Next ==
  \/ Tick \/ HearAnswer \/ HearMember \/ TakeOver
  \/ \E t \in {1, 2} : Beat(t) \/ Condemn(t)
  \/ \E m \in Others : Probe(m) \/ FenceMember(m)
  \/ ApplyFence \/ FenceLeader \/ Seal \/ Propose \/ ApplyRoll
Spec == Init /\ [][Next]_vars

\* A leader that was told leads no more: nothing can go wrong after that.
StillLeads == ~told

----------------------------------------------------------------------------
TypeOK ==
  /\ {mine, theirs} \subseteq 0..TimeMax /\ term \in {1, 2} /\ known \in 0..term
  /\ sent <= mine /\ taken <= mine /\ refusing \subseteq Others
  /\ proposed <= mine /\ sealedAt # None => fenced \/ proposed # None

\* A leader that was deposed answers no read that is older than a lease.
InvStaleReadsAreBounded == Serves /\ sealedAt # None => mine - sealedAt < Ttl
\* A lease that a heartbeat extended ends before anybody calls its leader silent.
InvSilenceIsNoSurprise == ~surprised
\* Who was told that it is fenced serves nothing more.
InvFencedIsQuiet == told => ~Serves
============================================================================
