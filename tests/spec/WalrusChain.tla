---------------------------- MODULE WalrusChain ----------------------------
(* One partition: its chain of segments, who may write them, and how each ends.

   Every action is one step of one process, taken on what that process has: its
   disk, its memory, or a message that somebody sent once. Messages stay in the
   network for ever, so they come late, twice or never. The metadata is one
   register that is changed by compare-and-set, which is what Raft is for us.
   There is no clock: a leader acts as if its lease never ended and a
   controller may fence it at any moment, so what holds here holds for every
   lease, pause and clock. What leases promise on top is in WalrusLease.tla.

   Names, and where the code has them (crates/metadata, crates/replication):
     chain[e]   Partition: the segment of epoch e with its leader (node and
                life), members, write quorum w, base, end, whether it is sealed
     life[n]    Node.incarnation: counts the starts of node n
     gone       lives that are fenced; no Roll names them as leader
     phase[e]   PartitionLeader.phase of the segment's leader: "open",
                "proposed", "over" (that life has ended); "none": not opened
     log, dur   per node and segment: its batches, and how many are durable
     fences[m]  Fences: the lives whose appends node m refuses, durable
     lost[e]    members whose disk was replaced since e was opened: another
                storage id, so they neither take appends nor vote
     sent[e]    all appends that the leader ever sent: <<position, batch>>
     acked[e]   Cursors: the end that each member told the leader as durable
     commit[e]  the leader's commit offset, counted from the segment's base
     answers    FenceAnswer: what members told controllers of the open
                segment: <<member, end>>
     rolls      proposals of leaders: <<epoch, end>>; each may be applied late,
                never, or again
     truth      every batch that anybody was told is there, by offset
     broken     what can be noticed only in the moment of a step

   Left out: transactions, retention, acks=1, repair of sealed segments, the
   inside of Raft and of the write-ahead log. A node that never learns that a
   segment has ended goes on with it as far as others let it; so none learns
   it here, for one that does only does less.

   Off is a set of rules that are broken, to show that each one is needed: see
   `check`. *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
  Nodes, Producers,
  BatchesEach,     \* batches of each producer, numbered from 1
  Sizes,           \* Sizes[e]: how many members segment e has
  InsyncMin,       \* min.insync.replicas
  CrashesMax,      \* crashes: what is not durable is gone, a new life begins
  DisksLostMax,    \* disks that are replaced by an empty one
  LateFlush,       \* nodes take a batch and flush it in two steps
  NarrowSeals,     \* a forced seal may end on fewer than w holders
  Off

VARIABLES chain, life, gone, phase, log, dur, fences, lost, sent, acked,
          commit, answers, rolls, truth, broken, crashes, disksLost

metadata == <<chain, life, gone>>
disks    == <<log, dur, fences, lost>>
network  == <<sent, acked, answers, rolls>>
ghosts   == <<truth, broken>>
faults   == <<crashes, disksLost>>
vars     == <<metadata, phase, disks, network, commit, ghosts, faults>>

Batches   == Producers \X (1..BatchesEach)
SegIds    == 1..Len(Sizes)
Lives     == Nodes \X (1..(CrashesMax + DisksLostMax + 1))
IsOff(p)  == p \in Off
Least(a, b)    == IF a < b THEN a ELSE b
Greatest(a, b) == IF a > b THEN a ELSE b
Set(s)    == {s[i] : i \in DOMAIN s}
Open      == Len(chain)
Seg(e)    == chain[e]
Leader(e) == Seg(e).leader[1]
Length(e) == Seg(e).end - Seg(e).base

\* The larger of a majority and min(min.insync.replicas, n); fixed at the Roll.
WriteQuorum(n) == Greatest((n \div 2) + 1, Least(InsyncMin, n))
\* So many fenced members meet every write quorum (I4).
FenceQuorum(e) ==
  Cardinality(Seg(e).members) - Seg(e).w + (IF IsOff("FenceEnough") THEN 0 ELSE 1)

NewSegment(n, members, base) ==
  [leader |-> <<n, life[n]>>, members |-> members, w |-> WriteQuorum(Cardinality(members)),
   base |-> base, end |-> base, sealed |-> FALSE]

Init ==
  /\ life = [n \in Nodes |-> 1]
  /\ \E members \in SUBSET Nodes : \E n \in members :
       /\ Cardinality(members) = Sizes[1]
       /\ chain = <<[leader |-> <<n, 1>>, members |-> members,
                     w |-> WriteQuorum(Sizes[1]), base |-> 0, end |-> 0, sealed |-> FALSE]>>
  /\ gone = {} /\ answers = {} /\ rolls = {} /\ broken = {} /\ truth = <<>>
  /\ phase  = [e \in SegIds |-> IF e = 1 THEN "open" ELSE "none"]
  /\ log    = [n \in Nodes |-> [e \in SegIds |-> <<>>]]
  /\ dur    = [n \in Nodes |-> [e \in SegIds |-> 0]]
  /\ fences = [n \in Nodes |-> {}]
  /\ lost   = [e \in SegIds |-> {}]
  /\ sent   = [e \in SegIds |-> {}]
  /\ acked  = [e \in SegIds |-> [n \in Nodes |-> 0]]
  /\ commit = [e \in SegIds |-> 0]
  /\ crashes = 0 /\ disksLost = 0

----------------------------------------------------------------------------
\* Producers and readers are told that `batches` stand at `from` + 1 and after.
Tell(from, batches) ==
  LET count == Len(batches)
      differs == \E i \in 1..count : from + i <= Len(truth) /\ truth[from + i] # batches[i]
      gap == from > Len(truth)
  IN /\ truth' = IF gap \/ from + count <= Len(truth) THEN truth
                 ELSE truth \o SubSeq(batches, Len(truth) - from + 1, count)
     /\ broken' = broken \cup (IF differs THEN {"another batch at that offset"} ELSE {})
                         \cup (IF gap THEN {"a batch behind a gap"} ELSE {})

\* The producer table that a leader begins with: all that lies before its base (I6).
Table(e) ==
  IF IsOff("CarryTable") THEN {}
  ELSE Set(SubSeq(truth, 1, Seg(e).base)) \cup
       (IF IsOff("UndoTail") THEN UNION {Set(log[Leader(e)][x]) : x \in 1..(e - 1)} ELSE {})

----------------------------------------------------------------------------
(* The leader of a segment: one life of one node (I1). PartitionLeader. *)

\* A batch is appended if its producer's sequence follows; a repeat is not. It
\* is answered once the first one is committed, which changes nothing.
\* PartitionLeader::append.
Append_(e, b) ==
  /\ e <= Open /\ phase[e] = "open" /\ Seg(e).leader \notin fences[Leader(e)]
  /\ LET n == Leader(e)
         known == Table(e) \cup Set(log[n][e])
     IN /\ b \notin known
        /\ b[2] > 1 => <<b[1], b[2] - 1>> \in known
        /\ log' = [log EXCEPT ![n][e] = Append(@, b)]
        /\ dur' = IF LateFlush THEN dur ELSE [dur EXCEPT ![n][e] = @ + 1]
        /\ sent' = [sent EXCEPT ![e] = @ \cup {<<Len(log[n][e]) + 1, b>>}]
  /\ UNCHANGED <<metadata, phase, fences, lost, acked, answers, rolls, commit, ghosts, faults>>

\* A repeat that is answered though its first one is not committed: what was
\* promised is nowhere, and nobody sends it again.
AnswerTooSoon(e, b) ==
  /\ e <= Open /\ phase[e] = "open"
  /\ \/ IsOff("AnswerCommitted") /\ b \in Set(log[Leader(e)][e])
     \/ IsOff("UndoTail") /\ b \in Table(e)
  /\ b \notin Set(truth)
  /\ \A n \in Nodes : \A i \in 1..Len(log[n][Open]) : log[n][Open][i] # b
  /\ broken' = broken \cup {"an answered batch is nowhere"}
  /\ UNCHANGED <<metadata, phase, disks, network, commit, truth, faults>>

\* Members that have the first k batches durable, as far as the leader knows.
\* The leader's own disk counts like any other.
Holders(e, k) ==
  {m \in Seg(e).members : IF m = Leader(e) THEN dur[m][e] >= k \/ IsOff("FlushBeforeAck")
                                           ELSE acked[e][m] >= k}

\* Nothing is committed any more once a Roll is proposed: its end stands.
\* PartitionLeader::flushed and ::acked.
Commit(e) ==
  /\ e <= Open /\ phase[e] = "open"
  /\ \E k \in (commit[e] + 1)..Len(log[Leader(e)][e]) :
       /\ Cardinality(Holders(e, k)) >=
            (IF IsOff("QuorumFixed") THEN (Cardinality(Seg(e).members) \div 2) + 1 ELSE Seg(e).w)
       /\ commit' = [commit EXCEPT ![e] = k]
       /\ Tell(Seg(e).base + commit[e], SubSeq(log[Leader(e)][e], commit[e] + 1, k))
  /\ UNCHANGED <<metadata, phase, disks, network, faults>>

\* A planned Roll waits until all is committed; a leader that lost its quorum
\* does not. Either way the end is the commit offset. PartitionLeader::begin_roll.
Propose(e) ==
  /\ e <= Open /\ e < Len(Sizes) /\ phase[e] = "open"
  /\ phase' = [phase EXCEPT ![e] = "proposed"]
  /\ rolls' = IF e < Open /\ ~IsOff("ExpectEpoch") THEN rolls ELSE rolls \cup {<<e, commit[e]>>}
  /\ UNCHANGED <<metadata, disks, sent, acked, answers, commit, ghosts, faults>>

\* What must never be done: going on with a segment whose Roll was proposed,
\* because no answer came, or because a look still shows it open.
Resume(e) ==
  /\ IsOff("StayProposed") /\ e <= Open /\ phase[e] = "proposed"
  /\ phase' = [phase EXCEPT ![e] = "open"]
  /\ UNCHANGED <<metadata, disks, network, commit, ghosts, faults>>

----------------------------------------------------------------------------
(* The other members. ReplicaSegment. *)

Own(m, e) == m \notin lost[e]

\* An append is taken if its sender's life is not fenced here, the disk is the
\* one that the segment names, and it follows what is there.
\* ReplicaSegment::append.
Take(m, e) ==
  /\ e <= Open /\ m \in Seg(e).members \ {Leader(e)}
  /\ Own(m, e) \/ IsOff("NamedDisk")
  /\ Seg(e).leader \notin fences[m]
  /\ \E append \in sent[e] :
       /\ append[1] = Len(log[m][e]) + 1
       /\ log' = [log EXCEPT ![m][e] = Append(@, append[2])]
       /\ dur' = IF LateFlush THEN dur ELSE [dur EXCEPT ![m][e] = append[1]]
       /\ acked' = IF LateFlush /\ ~IsOff("FlushBeforeAck") THEN acked
                   ELSE [acked EXCEPT ![e][m] = Greatest(@, append[1])]
  /\ UNCHANGED <<metadata, phase, fences, lost, sent, answers, rolls, commit, ghosts, faults>>

\* ReplicaSegment::flushed, PartitionLeader::flushed.
Flush(m, e) ==
  /\ LateFlush /\ e <= Open /\ dur[m][e] < Len(log[m][e])
  /\ dur' = [dur EXCEPT ![m][e] = Len(log[m][e])]
  /\ acked' = IF m = Leader(e) THEN acked
              ELSE [acked EXCEPT ![e][m] = Greatest(@, Len(log[m][e]))]
  /\ UNCHANGED <<metadata, phase, log, fences, lost, sent, answers, rolls, commit, ghosts,
                 faults>>

\* What must never be done: cutting to an end that somebody has in mind before
\* it is decided.
CutTooSoon(m) ==
  /\ IsOff("CutAfterRoll")
  /\ \E a \in answers :
       /\ a[1] # m /\ m \in Seg(Open).members /\ Len(log[m][Open]) > a[2]
       /\ Seg(Open).leader \in fences[m]
       /\ log' = [log EXCEPT ![m][Open] = SubSeq(@, 1, a[2])]
       /\ dur' = [dur EXCEPT ![m][Open] = Least(@, a[2])]
  /\ UNCHANGED <<metadata, phase, fences, lost, network, commit, ghosts, faults>>

----------------------------------------------------------------------------
(* The controllers. Whatever they know is in `gone` and `answers`, so there
   may be any number of them, and each may die half way. ForcedSeal. *)

\* Fence{node, incarnation}: the one intent there is.
FenceLife ==
  /\ Seg(Open).leader \notin gone /\ Open < Len(Sizes)
  /\ gone' = gone \cup {Seg(Open).leader}
  /\ UNCHANGED <<chain, life, phase, disks, network, commit, ghosts, faults>>

\* A member takes no more from that life, makes durable what it has together
\* with the fence, and then answers for what that life leads.
\* Fences::fence, ReplicaSegment::answer_fence.
Fence(m) ==
  /\ Open < Len(Sizes) /\ Seg(Open).leader \in gone \ fences[m]
  /\ fences' = [fences EXCEPT ![m] = @ \cup {Seg(Open).leader}]
  /\ LET e == Open
         end == Len(log[m][e])
         votes == m \in Seg(e).members /\ (Own(m, e) \/ IsOff("LostDiskIsSilent"))
     IN /\ answers' = IF votes THEN answers \cup {<<m, end>>} ELSE answers
        /\ dur' = IF IsOff("FlushBeforeFence") THEN dur ELSE [dur EXCEPT ![m][e] = end]
        /\ acked' = IF IsOff("FlushBeforeFence") \/ m = Leader(e) THEN acked
                    ELSE [acked EXCEPT ![e][m] = Greatest(@, end)]
  /\ UNCHANGED <<metadata, phase, log, lost, sent, rolls, commit, ghosts, faults>>

\* A fenced member that is short gets the rest from a fenced one that is not.
\* That is no answer to the leader. ReplicaSegment::copy.
Copy(from, to) ==
  /\ from # to /\ {from, to} \subseteq Seg(Open).members
  /\ LET e == Open
         end == dur[from][e]
     IN /\ \A m \in {from, to} : Seg(e).leader \in fences[m] /\ Own(m, e)
        /\ end > Len(log[to][e])
        /\ log' = [log EXCEPT ![to][e] = @ \o SubSeq(log[from][e], Len(@) + 1, end)]
        /\ dur' = [dur EXCEPT ![to][e] = end]
        /\ answers' = answers \cup {<<to, end>>}
  /\ UNCHANGED <<metadata, phase, fences, lost, sent, acked, rolls, commit, ghosts, faults>>

\* Seal and successor are one command (I6). No life that is fenced leads.
\* Metadata::apply. What controllers and leaders still have of the segment
\* means nothing any more.
Roll(e, end) ==
  /\ e < Len(Sizes)
  /\ \E members \in SUBSET Nodes : \E n \in members :
       /\ Cardinality(members) = Sizes[e + 1] /\ <<n, life[n]>> \notin gone
       /\ chain' = Append([chain EXCEPT ![e].end = @ + end, ![e].sealed = TRUE],
                          NewSegment(n, members, Seg(e).base + end))
  /\ phase' = [phase EXCEPT ![e + 1] = "open"]
  /\ answers' = {}
  /\ rolls' = IF IsOff("ExpectEpoch") THEN rolls ELSE {}
  /\ LET have == {m \in Seg(e).members : Len(log[m][e]) >= end /\ Own(m, e)}
     IN IF end <= commit[e] THEN UNCHANGED ghosts
        ELSE IF have = {}
        THEN broken' = broken \cup {"nobody has what was sealed"} /\ truth' = truth
        ELSE \E m \in have :
               Tell(Seg(e).base + commit[e], SubSeq(log[m][e], commit[e] + 1, end))
  /\ UNCHANGED <<life, gone, disks, sent, acked, commit, faults>>

ForcedRoll ==
  LET e == Open
      Answered(P(_)) == {m \in Nodes : \E a \in answers : a[1] = m /\ P(a[2])}
  IN /\ Seg(e).leader \in gone
     /\ \E end \in {a[2] : a \in answers} :
          LET upTo(x) == x <= end
              from(x) == x >= end
              any(x)  == TRUE
          IN \* The greatest of the ends that a fence quorum answered.
             /\ Cardinality(IF IsOff("LongestEnd") THEN Answered(any) ELSE Answered(upTo))
                  >= FenceQuorum(e)
             /\ Cardinality(Answered(from)) >= (IF NarrowSeals \/ IsOff("CopyToQuorum")
                                                THEN 1 ELSE Seg(e).w)
             /\ Roll(e, end)

\* A proposal of a leader, applied whenever; it names the epoch it expects (I5).
PlannedRoll ==
  \E roll \in rolls : (roll[1] = Open \/ IsOff("ExpectEpoch")) /\ Roll(Open, roll[2])

----------------------------------------------------------------------------
(* Faults. A process that is away for a while is one that takes no steps. *)

\* A new life: the one before is fenced by its registration.
Restart(n) ==
  /\ life' = [life EXCEPT ![n] = @ + 1]
  /\ gone' = gone \cup {<<n, life[n]>>}
  /\ phase' = [e \in SegIds |-> IF e <= Open /\ Leader(e) = n /\ ~IsOff("NewLifeNewSegment")
                                THEN "over" ELSE phase[e]]

\* A crash that loses nothing and ends no lead is a pause.
Crash(n) ==
  /\ crashes < CrashesMax /\ crashes' = crashes + 1
  /\ \/ \E e \in 1..Open : dur[n][e] < Len(log[n][e]) \/ (Leader(e) = n /\ phase[e] # "over")
     \/ IsOff("FenceDurable")
  /\ Restart(n)
  /\ log' = [log EXCEPT ![n] = [e \in SegIds |-> SubSeq(@[e], 1, dur[n][e])]]
  /\ fences' = IF IsOff("FenceDurable") THEN [fences EXCEPT ![n] = {}] ELSE fences
  /\ UNCHANGED <<chain, dur, lost, network, commit, ghosts, disksLost>>

\* The node returns with an empty disk and another storage id. More disks are
\* not lost than a segment can bear.
LoseDisk(n) ==
  /\ disksLost < DisksLostMax /\ disksLost' = disksLost + 1
  /\ \A e \in 1..Open : n \in Seg(e).members => Seg(e).members \ (lost[e] \cup {n}) # {}
  /\ Restart(n)
  /\ log' = [log EXCEPT ![n] = [e \in SegIds |-> <<>>]]
  /\ dur' = [dur EXCEPT ![n] = [e \in SegIds |-> 0]]
  /\ fences' = [fences EXCEPT ![n] = {}]
  /\ lost' = [e \in SegIds |-> IF e <= Open /\ n \in Seg(e).members
                               THEN lost[e] \cup {n} ELSE lost[e]]
  /\ UNCHANGED <<chain, network, commit, ghosts, crashes>>

Next ==
  \/ \E e \in SegIds : Commit(e) \/ Propose(e) \/ Resume(e)
  \/ \E e \in SegIds, b \in Batches : Append_(e, b) \/ AnswerTooSoon(e, b)
  \/ \E e \in SegIds, m \in Nodes : Take(m, e) \/ Flush(m, e)
  \/ \E a, b \in Nodes : Copy(a, b)
  \/ FenceLife \/ ForcedRoll \/ PlannedRoll
  \/ \E n \in Nodes : Fence(n) \/ CutTooSoon(n) \/ Crash(n) \/ LoseDisk(n)

Spec == Init /\ [][Next]_vars

----------------------------------------------------------------------------
(* What holds. The first eight have the names that users of the earlier
   system know; I1 to I8 are the ones of the code and of the simulation. *)

TypeOK ==
  /\ Open \in SegIds /\ gone \subseteq Lives
  /\ \A e \in 1..Open :
       /\ Leader(e) \in Seg(e).members /\ Seg(e).members \subseteq Nodes
       /\ Seg(e).w \in 1..Cardinality(Seg(e).members) /\ Seg(e).base <= Seg(e).end
  /\ \A e \in SegIds, n \in Nodes :
       Set(log[n][e]) \subseteq Batches /\ dur[n][e] \in 0..Len(log[n][e])

\* What belongs to a segment belongs to one that was opened.
InvDomainConsistency ==
  \A e \in SegIds : e > Open =>
    /\ phase[e] = "none" /\ commit[e] = 0 /\ sent[e] = {} /\ lost[e] = {}
    /\ \A n \in Nodes : log[n][e] = <<>>

\* One segment is open, the last, and whoever writes it is one of its members.
InvOpenLeaderMatchesMap ==
  /\ \A e \in 1..Open : Seg(e).sealed <=> e < Open
  /\ Leader(Open) \in Seg(Open).members

\* Nobody else has anything of a segment, and nobody more than was sent.
InvNoWritesPastOpen ==
  \A e \in 1..Open, n \in Nodes :
    /\ log[n][e] # <<>> => n \in Seg(e).members
    /\ Len(log[n][e]) <= Cardinality({append[1] : append \in sent[e]})

\* A sealed segment has all the batches that its end says.
InvSealedCountsStable == \A e \in 1..Open : Seg(e).sealed => Len(truth) >= Seg(e).end

RECURSIVE SealedSum(_)
SealedSum(e) == IF e = 0 THEN 0 ELSE Length(e) + SealedSum(e - 1)
InvLastSealedIsSum == Seg(Open).base = SealedSum(Open - 1)

\* How far a node answers a Fetch at the best, and that it answers the same as
\* all others (I8). ReplicaSegment::readable_end.
Readable(n, e) ==
  Least(Len(log[n][e]), IF Seg(e).sealed THEN Length(e) ELSE commit[e])
InvReadCursorWithinBounds ==
  \A e \in 1..Open, n \in Nodes : \A i \in 1..Readable(n, e) :
    Seg(e).base + i <= Len(truth) /\ log[n][e][i] = truth[Seg(e).base + i]

\* Each producer's batches are there in order, without a gap, once.
InvSeqOrder ==
  \A i \in 1..Len(truth) :
    /\ truth[i][2] > 1 => \E j \in 1..(i - 1) : truth[j] = <<truth[i][1], truth[i][2] - 1>>
    /\ \A j \in 1..(i - 1) : truth[j] # truth[i]

I1_OneWriter == \A e \in 1..Open : \A a, b \in sent[e] : a[1] = b[1] => a = b
I2_Prefix ==
  \A e \in 1..Open, n \in Nodes : \A i \in 1..Len(log[n][e]) : <<i, log[n][e][i]>> \in sent[e]
\* A disk that was lost since counts: the batch was there.
Copies(e, i) == Cardinality({m \in Seg(e).members : dur[m][e] >= i \/ m \in lost[e]})
I3_CommittedOnQuorum == \A e \in 1..Open : \A i \in 1..commit[e] : Copies(e, i) >= Seg(e).w
\* Whoever could still take an append of a sealed segment is no write quorum.
I4_FenceMeetsQuorum ==
  \A e \in 1..Open : Seg(e).sealed /\ phase[e] = "open" =>
    Cardinality({m \in Seg(e).members : Seg(e).leader \notin fences[m] /\ Own(m, e)}) < Seg(e).w
I6_NoGap == \A e \in 1..(Open - 1) : Seg(e).end = Seg(e + 1).base
I7_SealedOnQuorum ==
  \A e \in 1..Open : Seg(e).sealed =>
    \A i \in 1..Length(e) : Copies(e, i) >= (IF NarrowSeals THEN 1 ELSE Seg(e).w)
I8_NothingPastEnd == \A e \in 1..Open : Seg(e).sealed => commit[e] <= Length(e)

\* A batch that anybody was told of stays at its offset on some disk.
CommittedStays ==
  \A at \in 1..Len(truth) : \E e \in 1..Open, n \in Nodes :
    LET i == at - Seg(e).base
    IN /\ i \in 1..dur[n][e] /\ Own(n, e) /\ log[n][e][i] = truth[at]
       /\ Seg(e).sealed => i <= Length(e)
NothingBroken == broken = {}

I5_EndDecidedOnce == [][\A e \in 1..Open : Seg(e).sealed => chain'[e] = chain[e]]_vars
TruthOnlyGrows ==
  [][Len(truth') >= Len(truth) /\ SubSeq(truth', 1, Len(truth)) = truth]_vars

----------------------------------------------------------------------------
(* What is reached in the end, as long as nodes that live go on. *)

Fairness ==
  /\ WF_vars(ForcedRoll) /\ WF_vars(PlannedRoll)
  /\ \A n \in Nodes : WF_vars(Fence(n))
  /\ \A a, b \in Nodes : WF_vars(Copy(a, b))
LiveSpec == Spec /\ Fairness

\* A segment whose leader was fenced is sealed.
RolloverProgress ==
  \A e \in SegIds : (e = Open /\ e < Len(Sizes) /\ Seg(Open).leader \in gone) ~> (Open > e)
\* What anybody was told of can be read from somebody.
ReadProgress ==
  \A at \in 1..Cardinality(Batches) : (Len(truth) >= at) ~>
    \E e \in 1..Open, n \in Nodes : at - Seg(e).base \in 1..Readable(n, e) /\ Own(n, e)

----------------------------------------------------------------------------
OneOneOne == <<1, 1, 1>>
TwoOneOne == <<2, 1, 1>>
TwoTwo == <<2, 2>>
TwoThree == <<2, 3>>
ThreeOne == <<3, 1>>
ThreeTwo == <<3, 2>>
ThreeThree == <<3, 3>>
ThreeTwoThree == <<3, 2, 3>>
Sym == Permutations(Nodes) \cup Permutations(Producers)
============================================================================
